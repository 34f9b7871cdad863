/// Sharing steps among the threads of a session.
///
/// How a step is cut follows from shapes, tier and number of threads, never from time. Cut it is by rows or by output
/// channels, each value being computed by the same kernel in the same order as by one thread: results have the same bits.
#ifndef EI_RUN_SHARE_H
#define EI_RUN_SHARE_H

#include "ops/op.h"
#include "run/session.h"

/// What makes a part, and a program, worth a thread's trouble, in units of ei_work: 0.5 µs and 100 µs of the fastest tier.
/// Handing out a step and waiting for its end takes about 0.5 µs, waking a thread 10 µs of the caller's time and 30 µs
/// until it works.
#define EI_PART_WORK    (UINT64_C(100) * 1000)
#define EI_PROGRAM_WORK (UINT64_C(20) * 1000 * 1000)

/// Decides for each of the session's nodes what share of a part's work a row is (row_share). `part_work` takes the place of
/// EI_PART_WORK unless it is 0, and then any program is worth it. Returns whether threads are.
int ei_share_nodes(ei_session *session, uint64_t part_work);

/// Runs a step whose node has a row_share on all threads of the session's pool, or here where it is too small.
ei_status ei_share_run(const ei_session *session, const ei_bound_node *node,
                       const ei_run_context *context, uint32_t begin, uint32_t end);

#endif
