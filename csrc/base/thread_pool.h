/// Threads that help one caller: a job is a number of parts, and whoever is free takes the next part.
///
/// Everything lies in the caller's memory, the threads' stacks too; after the start nothing is allocated. Between jobs
/// the threads wait awake for a moment and then sleep. docs/internals/threads.md has the protocol in prose.
#ifndef EI_BASE_THREAD_POOL_H
#define EI_BASE_THREAD_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/affinity.h"
#include "edgeinfer.h"

typedef struct ei_thread_pool ei_thread_pool;

#define EI_POOL_ALIGNMENT 64
#define EI_MAX_PARTS      32

/// Computes one part of a job. Runs on any of the threads; must neither fail nor call ei_fail, whose message belongs to a
/// thread (and whose memory the C library would take from the heap).
typedef void (*ei_part_fn)(const void *job, uint32_t part);

/// Starts `workers` threads (at least 1) in memory[0 .. workers * bytes_each), aligned to EI_POOL_ALIGNMENT. What is left
/// of bytes_each beside some bookkeeping is a thread's stack. All signals are blocked in them. Thread i, from 1 on (0 is
/// the caller), runs on the CPUs that `placement` gives it.
/// EI_ERROR_MEMORY when the system refuses a thread, EI_ERROR_ARGUMENT when it refuses a CPU; nothing is left running.
ei_status ei_thread_pool_start(void *memory, size_t bytes_each, uint32_t workers,
                               const ei_placement *placement, ei_thread_pool **pool);

/// Runs parts [0, parts) of the job, some of them on the calling thread, and returns when all are done. What the caller
/// wrote before is seen by the parts, what they wrote by the caller. One call at a time. parts <= EI_MAX_PARTS.
void ei_thread_pool_run(ei_thread_pool *pool, ei_part_fn run, const void *job, uint32_t parts);

/// Whether this process has the threads: the child of a fork() has not, and must not call ei_thread_pool_run.
int ei_thread_pool_is_here(const ei_thread_pool *pool);

/// Ends the threads and waits for them; in the child of a fork() there is nothing to end. A job that another thread runs
/// meanwhile, and those to come, are done by their caller alone, as long as the memory is there.
void ei_thread_pool_stop(ei_thread_pool *pool);

#endif
