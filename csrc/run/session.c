#include "run/session.h"

#include <inttypes.h>
#include <string.h>

#include "base/dtype.h"
#include "base/error.h"
#include "base/text.h"
#include "base/ticks.h"
#include "ops/packed.h"
#include "run/share.h"

static uint64_t count_operands(const ei_model *model, const ei_program_record *program) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < program->node_count; i++) {
        const ei_node_record *node = &model->nodes[program->first_node + i];
        count += (uint64_t)node->input_count + node->output_count;
    }
    return count;
}

/// The session's own place of an activation.
static uint8_t *own_place(const ei_session *session, const ei_tensor_record *tensor) {
    const ei_buffer_record *buffer = ei_program_buffer(session->model, session->program, tensor);
    uint8_t *region = buffer->region == EI_REGION_STATE ? session->state : session->arena;
    return region + buffer->offset + tensor->offset;
}

static void bind_view(const ei_session *session, ei_view *view, uint32_t tensor) {
    const ei_model *model = session->model;
    view->next_view = EI_NO_VIEW;
    if (tensor == EI_NO_TENSOR) {
        return;
    }
    view->tensor = &model->tensors[tensor];
    view->ring_rows = view->tensor->ring_rows;
    // Operators take constants as inputs only, and nothing writes through an input.
    view->base = ei_tensor_is_constant(view->tensor)
                     ? (uint8_t *)(uintptr_t)(model->constants + view->tensor->offset)
                     : own_place(session, view->tensor);
}

/// Lets operators that have something left to find do so.
static ei_status bind_node(const ei_session *session, uint32_t i) {
    const ei_model *model = session->model;
    const uint32_t index = session->program->first_node + i;
    ei_bound_node *bound = &session->nodes[i];
    if (bound->op->bind == NULL) {
        return EI_OK;
    }
    const ei_node node = ei_model_node(model, index);
    const ei_status status = bound->op->bind(&node, bound);
    return status == EI_OK ? EI_OK
                           : ei_fail_in(status, "node %" PRIu32 " '%s' (%s)", index,
                                        ei_printable(node.name, &(ei_text){0}), bound->op->name);
}

/// Links the views of every graph input and output, so that a run can move them without a search.
static void link_views(ei_session *session, uint32_t count) {
    const ei_program_record *program = session->program;
    const ei_buffer_binding *bindings = session->model->bindings + program->first_buffer;
    // `reserved` of a chain's head: the view that was linked last.
    for (uint32_t i = 0; i < count; i++) {
        ei_view *view = &session->views[i];
        if (view->tensor == NULL || ei_tensor_is_constant(view->tensor)) {
            continue;
        }
        const ei_buffer_binding *binding = &bindings[view->tensor->buffer];
        if (binding->io == EI_NO_IO) {
            continue;
        }
        ei_view *head = &session->views[binding->first_view];
        if (view != head) {
            session->views[head->reserved].next_view = i;
        }
        head->reserved = i;
    }
}

static uint32_t has_rings(const ei_session *session) {
    for (uint32_t i = 0; i < session->program->input_count; i++) {
        const ei_tensor_record *tensor = ei_session_io(session, i);
        if (tensor->ring_rows != tensor->rows) {
            return 1;
        }
    }
    return 0;
}

/// Starts the threads where the program has work for them: behind the part that the file promises.
static ei_status start_threads(ei_session *session, const ei_session_plan *plan) {
    if (plan->threads == 1 || !ei_share_nodes(session, plan->part_work)) {
        return EI_OK;
    }
    uint8_t *memory = (uint8_t *)session + plan->program->session_bytes;
    return ei_thread_pool_start(memory, EI_SESSION_THREAD_BYTES, plan->threads - 1,
                                &plan->placement, &session->pool);
}

void ei_session_unbind(ei_session *session) {
    if (session->pool != NULL) {
        ei_thread_pool_stop(session->pool);
    }
}

ei_status ei_session_bind(const ei_model *model, const ei_session_plan *plan, void *memory,
                          size_t bytes, ei_session **session) {
    const ei_program_record *program = plan->program;
    if ((uintptr_t)memory % EI_SESSION_ALIGNMENT != 0) {
        return ei_fail(EI_ERROR_ARGUMENT, "memory is not aligned to %d bytes",
                       EI_SESSION_ALIGNMENT);
    }
    if (bytes < plan->bytes) {
        return ei_fail(EI_ERROR_MEMORY, "bytes is %zu, a session of program '%s' needs %" PRIu64,
                       bytes, ei_printable(ei_model_string(model, program->name), &(ei_text){0}),
                       plan->bytes);
    }
    const uint64_t operands = count_operands(model, program);
    int overflow = 0; // cannot happen: the validator has computed the same
    const ei_session_layout at = ei_session_layout_of(program, operands, &overflow);
    uint8_t *base = memory;
    memset(base, 0, (size_t)at.bytes);

    ei_session *made = memory;
    made->model = model;
    made->program = program;
    made->kernels = plan->kernels;
    made->bytes = (size_t)plan->bytes;
    made->threads = plan->threads;
    made->nodes = (ei_bound_node *)(base + at.nodes);
    made->views = (ei_view *)(base + at.views);
    made->scratch = base + at.scratch;
    made->arena = base + at.arena;
    made->state = base + at.state;

    ei_view *view = made->views;
    for (uint32_t i = 0; i < program->node_count; i++) {
        const ei_node_record *record = &model->nodes[program->first_node + i];
        const uint32_t count = (uint32_t)record->input_count + record->output_count;
        made->nodes[i] = (ei_bound_node){
            .op = ei_op_find(record->op),
            .params = model->params + record->params_offset,
            .views = view,
            .input_count = record->input_count,
            .output_count = (uint8_t)record->output_count, // 1, as operators.def says
        };
        for (uint32_t o = 0; o < count; o++) {
            bind_view(made, view++, model->operands[record->first_operand + o]);
        }
    }
    for (uint32_t i = 0; i < program->node_count; i++) {
        made->nodes[i].later =
            ei_find_later_weights(&made->nodes[i], &made->nodes[program->node_count]);
    }
    link_views(made, (uint32_t)operands);
    made->has_rings = has_rings(made);
    for (uint32_t i = 0; i < program->node_count; i++) {
        EI_TRY(bind_node(made, i));
    }
    EI_TRY(start_threads(made, plan));
    *session = made;
    return EI_OK;
}

const ei_tensor_record *ei_session_io(const ei_session *session, uint32_t io) {
    const ei_program_record *program = session->program;
    const uint32_t operand = io < program->input_count
                                 ? program->first_input + io
                                 : program->first_output + (io - program->input_count);
    return &session->model->tensors[session->model->operands[operand]];
}

uint8_t *ei_session_io_memory(const ei_session *session, uint32_t io) {
    return own_place(session, ei_session_io(session, io)); // at offset 0 of its buffer
}

// --- inputs and outputs of a run

typedef struct ei_range {
    uintptr_t begin, end;
} ei_range;

static int overlap(ei_range a, ei_range b) {
    return a.begin < b.end && b.begin < a.end;
}

/// What the caller gives for graph input or output `io`, or NULL.
static const void *given(const ei_session *session, uint32_t io, const void *const *inputs,
                         void *const *outputs) {
    const uint32_t input_count = session->program->input_count;
    if (io < input_count) {
        return inputs == NULL ? NULL : inputs[io];
    }
    return outputs == NULL ? NULL : outputs[io - input_count];
}

static ei_range range_of(const ei_session *session, uint32_t io, const void *memory) {
    const uintptr_t begin = (uintptr_t)memory;
    return (ei_range){begin, begin + ei_tensor_dense_bytes(ei_session_io(session, io))};
}

static ei_status fail_io(const ei_session *session, uint32_t io, const char *rule) {
    const uint32_t input_count = session->program->input_count;
    const ei_tensor_record *tensor = ei_session_io(session, io);
    return ei_fail(
        EI_ERROR_ARGUMENT, "%s %" PRIu32 " '%s': %s", io < input_count ? "inputs" : "outputs",
        io < input_count ? io : io - input_count,
        ei_printable(ei_model_string(session->model, tensor->name), &(ei_text){0}), rule);
}

static ei_status check_given(const ei_session *session, uint32_t io, const void *const *inputs,
                             void *const *outputs) {
    const uint8_t *memory = given(session, io, inputs, outputs);
    if (memory == NULL || memory == ei_session_io_memory(session, io)) {
        return EI_OK;
    }
    if ((uintptr_t)memory % ei_dtype_bytes(ei_session_io(session, io)->dtype) != 0) {
        return fail_io(session, io, "the address is not aligned to the elements");
    }
    const ei_range range = range_of(session, io, memory);
    const uintptr_t own = (uintptr_t)session;
    if (overlap(range, (ei_range){own, own + session->bytes})) {
        return fail_io(session, io,
                       "overlaps the session's memory; give NULL to use the session's own buffer");
    }
    // Two inputs may be the same memory: nothing writes there.
    const uint32_t input_count = session->program->input_count;
    const uint32_t first = io < input_count ? input_count : io + 1;
    for (uint32_t o = first; o < input_count + session->program->output_count; o++) {
        const void *other = given(session, o, inputs, outputs);
        if (other != NULL && overlap(range, range_of(session, o, other))) {
            return fail_io(session, o,
                           io < input_count ? "overlaps an input" : "overlaps an output");
        }
    }
    return EI_OK;
}

/// Where the session itself holds some rows of an input at a time, it needs the caller's array.
static ei_status check_rings(const ei_session *session, const void *const *inputs) {
    for (uint32_t i = 0; i < session->program->input_count; i++) {
        const ei_tensor_record *tensor = ei_session_io(session, i);
        const void *memory = given(session, i, inputs, NULL);
        if (tensor->ring_rows != tensor->rows &&
            (memory == NULL || memory == ei_session_io_memory(session, i))) {
            ei_text name = {0};
            return ei_fail(EI_ERROR_ARGUMENT,
                           "inputs %" PRIu32 " '%s': the session itself holds %" PRIu32
                           " of its %" PRIu32
                           " rows: give an array, or feed it by rows (ei_session_feed)",
                           i, ei_printable(ei_model_string(session->model, tensor->name), &name),
                           tensor->ring_rows, tensor->rows);
        }
    }
    return EI_OK;
}

/// Moves every view of a graph input or output to `memory`. The caller has all rows of an input; an output is whole, and a ring
/// that lies in its buffer meanwhile stays one.
static void move(const ei_session *session, uint32_t io, const uint8_t *memory) {
    const ei_program_record *program = session->program;
    const int keeps_rings =
        io >= program->input_count || memory == ei_session_io_memory(session, io);
    const uint32_t buffer = ei_session_io(session, io)->buffer;
    uint32_t at = session->model->bindings[program->first_buffer + buffer].first_view;
    while (at != EI_NO_VIEW) { // at once where no node reads an input
        ei_view *view = &session->views[at];
        uint8_t *base = (uint8_t *)(uintptr_t)(memory + view->tensor->offset);
        if (view->base == base) {
            return; // all of them move together
        }
        view->base = base;
        view->ring_rows = keeps_rings ? view->tensor->ring_rows : view->tensor->rows;
        at = view->next_view;
    }
}

/// Whether `memory` is where the views of graph input or output `io` are already, so that it has been checked.
static int is_bound(const ei_session *session, uint32_t io, const uint8_t *memory) {
    const ei_program_record *program = session->program;
    const uint32_t buffer = ei_session_io(session, io)->buffer;
    const uint32_t at = session->model->bindings[program->first_buffer + buffer].first_view;
    if (at == EI_NO_VIEW) {
        return 0;
    }
    const ei_view *view = &session->views[at];
    return view->base == memory + view->tensor->offset;
}

static ei_status rebind(const ei_session *session, const void *const *inputs,
                        void *const *outputs) {
    const uint32_t count = session->program->input_count + session->program->output_count;
    uint32_t bound = 0;
    for (; bound < count; bound++) {
        const uint8_t *memory = given(session, bound, inputs, outputs);
        if (!is_bound(session, bound,
                      memory != NULL ? memory : ei_session_io_memory(session, bound))) {
            break;
        }
    }
    if (bound == count) {
        return EI_OK; // as in the run before
    }
    for (uint32_t i = 0; i < count; i++) {
        EI_TRY(check_given(session, i, inputs, outputs));
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *memory = given(session, i, inputs, outputs);
        move(session, i, memory != NULL ? memory : ei_session_io_memory(session, i));
    }
    return EI_OK;
}

ei_status ei_session_rebind(const ei_session *session, const void *const *inputs,
                            void *const *outputs) {
    if (session->has_rings) {
        EI_TRY(check_rings(session, inputs));
    }
    return rebind(session, inputs, outputs);
}

ei_status ei_session_rebind_outputs(const ei_session *session, void *const *outputs) {
    return rebind(session, NULL, outputs);
}

// --- running steps

static inline __attribute__((always_inline)) ei_status run_step(const ei_session *session,
                                                                uint32_t index,
                                                                const ei_run_context *context,
                                                                int shares) {
    const ei_program_record *program = session->program;
    const ei_step_record *step = &session->model->steps[program->first_step + index];
    const ei_bound_node *node = &session->nodes[step->node];
    const ei_status status =
        shares && node->row_share != 0
            ? ei_share_run(session, node, context, step->row_begin, step->row_end)
            : node->op->run(node, context, step->row_begin, step->row_end);
    if (status != EI_OK) {
        const ei_node_record *record = &session->model->nodes[program->first_node + step->node];
        const char *name = ei_model_string(session->model, record->name);
        return ei_fail_in(status, "step %" PRIu32 ", node '%s' (%s)", index,
                          ei_printable(name, &(ei_text){0}), node->op->name);
    }
    return EI_OK;
}

/// The child of a fork() has no threads but its own; it computes the same.
static int has_threads(const ei_session *session) {
    return session->pool != NULL && ei_thread_pool_is_here(session->pool);
}

ei_status ei_session_step(const ei_session *session, uint32_t step) {
    const ei_run_context context = {.kernels = session->kernels, .scratch = session->scratch};
    return run_step(session, step, &context, has_threads(session));
}

/// Inlined with and without `ticks`: a run that is not profiled pays one branch, not one per step.
static inline __attribute__((always_inline)) ei_status walk(const ei_session *session,
                                                            uint64_t *ticks) {
    const uint32_t step_count = session->program->step_count;
    const ei_run_context context = {.kernels = session->kernels, .scratch = session->scratch};
    const int shares = has_threads(session);
    if (ticks != NULL) {
        *ticks++ = ei_ticks();
    }
    for (uint32_t i = 0; i < step_count; i++) {
        EI_TRY(run_step(session, i, &context, shares));
        if (ticks != NULL) {
            *ticks++ = ei_ticks();
        }
    }
    return EI_OK;
}

ei_status ei_session_walk(const ei_session *session) {
    return session->ticks == NULL ? walk(session, NULL) : walk(session, session->ticks);
}
