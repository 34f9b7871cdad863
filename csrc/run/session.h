/// A session: a checked program, a kernel table and memory, bound to each other.
#ifndef EI_RUN_SESSION_H
#define EI_RUN_SESSION_H

#include "base/thread_pool.h"
#include "kernels/table.h"
#include "model/model.h"
#include "ops/op.h"

/// Where a run by rows is (run/feed.c).
typedef enum ei_feeding {
    EI_FEEDING_NONE = 0, // none was begun, or it was abandoned
    EI_FEEDING_UNDER_WAY,
    EI_FEEDING_DONE,
} ei_feeding;

/// At the start of a session's memory; nodes, views, scratch, arena and state follow it, where
/// ei_session_layout says.
struct ei_session {
    const ei_model *model;
    const ei_program_record *program;
    const ei_kernels *kernels;
    ei_bound_node *nodes;
    ei_view *views; // of the nodes' operands, in their order
    uint8_t *scratch, *arena, *state;
    uint64_t *ticks; // of the caller, for the start of a run and the end of each step; NULL: none
    size_t bytes;    // of the session's memory: these parts and the threads'
    ei_thread_pool *pool; // NULL: steps run on the calling thread alone
    uint32_t threads;
    uint32_t
        has_rings; // whether a graph input is a ring, so that a run needs the caller's array or rows
    ei_feeding feeding;
    uint32_t next_step; // of a run by rows that is under way
};

/// How a session runs: what ei_session_options asks for, checked.
typedef struct ei_session_plan {
    const ei_program_record *program;
    const ei_kernels *kernels;
    uint32_t threads; // 1 to EI_MAX_THREADS
    ei_placement placement;
    uint64_t part_work; // ei_share_nodes
    uint64_t bytes;     // that the session needs
} ei_session_plan;

_Static_assert(sizeof(ei_session) <= EI_SESSION_FIXED_BYTES, "part of the promised size");
_Static_assert(sizeof(ei_bound_node) <= EI_SESSION_NODE_BYTES, "part of the promised size");
_Static_assert(sizeof(ei_view) <= EI_SESSION_OPERAND_BYTES, "part of the promised size");
_Static_assert(EI_SESSION_FIXED_BYTES % 8 == 0 && EI_SESSION_NODE_BYTES % 8 == 0, "alignment");

/// Checks the memory's alignment and size, zeroes it, binds every operand to its place and starts the threads.
ei_status ei_session_bind(const ei_model *model, const ei_session_plan *plan, void *memory,
                          size_t bytes, ei_session **session);

/// Ends the threads.
void ei_session_unbind(ei_session *session);

/// A graph input or output: inputs count from 0, outputs follow them.
const ei_tensor_record *ei_session_io(const ei_session *session, uint32_t io);
/// The session's own memory for it.
uint8_t *ei_session_io_memory(const ei_session *session, uint32_t io);

/// Puts the caller's memory in the place of graph inputs and outputs; NULL entries, or a NULL array,
/// put the session's own back. Fails, with nothing changed, when an address is not aligned to its
/// elements, lies in the session's memory, when an output overlaps another output or an input, or when
/// the session's own place of an input is a ring.
ei_status ei_session_rebind(const ei_session *session, const void *const *inputs,
                            void *const *outputs);

/// The same for a run by rows: inputs are the session's own, rings included.
ei_status ei_session_rebind_outputs(const ei_session *session, void *const *outputs);

/// Walks the steps.
ei_status ei_session_walk(const ei_session *session);
/// Runs one of them.
ei_status ei_session_step(const ei_session *session, uint32_t step);

// --- runs by rows (feed.c)

/// Begins one; what was under way is abandoned.
ei_status ei_session_start_feeding(ei_session *session, void *const *outputs);
/// Takes rows of an input and runs the steps that have all of theirs; *taken of the rows were taken. What is taken must not
/// lie in the session's memory.
ei_status ei_session_take_rows(ei_session *session, uint32_t input, const uint8_t *rows,
                               uint32_t count, uint32_t *taken);
/// Rows of an input that are still to come.
uint32_t ei_session_untaken_rows(const ei_session *session, uint32_t input);
/// The input of which the next step needs rows, or else one that has some left; their number when none has.
uint32_t ei_session_awaited_input(const ei_session *session);

#endif
