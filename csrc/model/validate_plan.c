// The memory plan: buffers and their lifetimes, graph inputs and outputs, promised sizes, and a walk
// through the steps.
#include "model/validate.h"

#include <inttypes.h>

#include "base/dtype.h"
#include "base/size.h"
#include "model/overlap.h"
#include "ops/op.h"

/// A step costs what its operands squared say: each is looked at, and a concatenation adds up the
/// rows of those before it. No real plan comes near the limit on what all steps cost.
#define EI_STEP_WORK (1ull << 28)

static ei_status check_buffer(const ei_program_record *program, const ei_buffer_record *buffer) {
    if (buffer->region != EI_REGION_ARENA && buffer->region != EI_REGION_STATE) {
        return ei_fail(EI_ERROR_FORMAT, "region is %d, which is none", buffer->region);
    }
    const int in_state = buffer->region == EI_REGION_STATE;
    if (buffer->flags > EI_BUFFER_OUTPUT || (in_state && buffer->flags != 0)) {
        return ei_fail(
            EI_ERROR_FORMAT,
            "flags is 0x%x, must be 0, or 1 or 2 for a graph input or output in the arena",
            buffer->flags);
    }
    for (uint32_t i = 0; i < sizeof buffer->reserved; i++) {
        if (buffer->reserved[i] != 0) {
            return ei_fail(EI_ERROR_FORMAT, "reserved must be 0");
        }
    }
    const uint64_t region_bytes = in_state ? program->state_bytes : program->arena_bytes;
    if (buffer->bytes == 0 || !ei_size_inside(buffer->offset, buffer->bytes, region_bytes)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "%" PRIu64 " bytes at offset %" PRIu64
                       " must be at least 1 and inside the %s, "
                       "%" PRIu64 " bytes",
                       buffer->bytes, buffer->offset, in_state ? "state" : "arena", region_bytes);
    }
    if (buffer->offset % EI_BUFFER_ALIGNMENT != 0) {
        return ei_fail(EI_ERROR_FORMAT, "offset is %" PRIu64 ", must be a multiple of %d",
                       buffer->offset, EI_BUFFER_ALIGNMENT);
    }
    const uint32_t last_step = program->step_count - 1;
    if (buffer->first_step > buffer->last_step || buffer->last_step > last_step) {
        return ei_fail(EI_ERROR_FORMAT,
                       "lives from step %" PRIu32 " to %" PRIu32 ", must lie within 0 to %" PRIu32,
                       buffer->first_step, buffer->last_step, last_step);
    }
    if ((in_state || buffer->flags == EI_BUFFER_INPUT) && buffer->first_step != 0) {
        return ei_fail(EI_ERROR_FORMAT, "first_step is %" PRIu32 ", must be 0 for %s",
                       buffer->first_step, in_state ? "state" : "a graph input");
    }
    if ((in_state || buffer->flags == EI_BUFFER_OUTPUT) && buffer->last_step != last_step) {
        return ei_fail(EI_ERROR_FORMAT,
                       "last_step is %" PRIu32 ", must be the last, %" PRIu32 ", for %s",
                       buffer->last_step, last_step, in_state ? "state" : "a graph output");
    }
    return EI_OK;
}

int ei_buffers_collide(const ei_buffer_record *a, const ei_buffer_record *b) {
    return a->region == b->region && a->first_step <= b->last_step &&
           b->first_step <= a->last_step && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

ei_status ei_check_buffers(const ei_model *model, const ei_program_record *program) {
    const ei_buffer_record *buffers = model->buffers + program->first_buffer;
    uint64_t ends[2] = {0, 0};
    for (uint32_t i = 0; i < program->buffer_count; i++) {
        const ei_status status = check_buffer(program, &buffers[i]);
        if (status != EI_OK) {
            return ei_fail_in(status, "buffer %" PRIu32, i);
        }
        for (uint32_t j = 0; j < i; j++) {
            // In the bytes of a graph input others may lie: the walk through the steps decides.
            if ((buffers[i].flags == EI_BUFFER_INPUT) == (buffers[j].flags == EI_BUFFER_INPUT) &&
                ei_buffers_collide(&buffers[i], &buffers[j])) {
                return ei_fail(EI_ERROR_FORMAT,
                               "buffers %" PRIu32 " and %" PRIu32
                               ": overlap in the %s while both are alive",
                               j, i, buffers[i].region == EI_REGION_STATE ? "state" : "arena");
            }
        }
        uint64_t *end = &ends[buffers[i].region];
        const uint64_t buffer_end = buffers[i].offset + buffers[i].bytes;
        *end = buffer_end > *end ? buffer_end : *end;
    }
    // The planner may round its total up, but may not promise more than that.
    int overflow = 0;
    if (program->arena_bytes > ei_size_align(ends[0], EI_SESSION_ALIGNMENT, &overflow) ||
        program->state_bytes > ei_size_align(ends[1], EI_SESSION_ALIGNMENT, &overflow)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "arena_bytes and state_bytes are %" PRIu64 " and %" PRIu64
                       ", the buffers end at %" PRIu64 " and %" PRIu64,
                       program->arena_bytes, program->state_bytes, ends[0], ends[1]);
    }
    return EI_OK;
}

/// A graph input or output fills a buffer of its own, so that a run can put the caller's memory in the
/// buffer's place. An output is whole; an input may be a ring, which a run by rows fills.
static ei_status check_one_io(const ei_model *model, const ei_program_record *program,
                              uint32_t tensor, uint32_t io, uint8_t flag) {
    if (tensor >= model->tensor_count || tensor < program->first_tensor ||
        tensor - program->first_tensor >= program->tensor_count ||
        ei_tensor_is_constant(&model->tensors[tensor])) {
        return ei_fail(EI_ERROR_FORMAT, "is tensor %" PRIu32 ", not an activation of the program",
                       tensor);
    }
    const ei_tensor_record *record = &model->tensors[tensor];
    const ei_buffer_record *buffer = ei_program_buffer(model, program, record);
    ei_buffer_binding *binding = &model->bindings[program->first_buffer + record->buffer];
    if (buffer->flags != flag) {
        return ei_fail(EI_ERROR_FORMAT, "lies in buffer %" PRIu32 " with flags 0x%x, must be 0x%x",
                       record->buffer, buffer->flags, flag);
    }
    const int is_whole = record->ring_rows == record->rows;
    if ((!is_whole && flag == EI_BUFFER_OUTPUT) || record->offset != 0 ||
        ei_tensor_held_bytes(record) != buffer->bytes) {
        return ei_fail(EI_ERROR_FORMAT, "must be a %s that fills buffer %" PRIu32,
                       flag == EI_BUFFER_OUTPUT || is_whole ? "whole tensor" : "ring",
                       record->buffer);
    }
    if (binding->io != EI_NO_IO) {
        return ei_fail(EI_ERROR_FORMAT, "shares buffer %" PRIu32 " with another one",
                       record->buffer);
    }
    binding->io = io;
    return EI_OK;
}

static uint32_t io_tensor(const ei_model *model, const ei_program_record *program, uint32_t io) {
    return io < program->input_count
               ? model->operands[program->first_input + io]
               : model->operands[program->first_output + (io - program->input_count)];
}

ei_status ei_check_io(const ei_model *model, const ei_program_record *program) {
    const uint64_t count = (uint64_t)program->input_count + program->output_count;
    for (uint32_t i = 0; i < program->buffer_count; i++) {
        model->bindings[program->first_buffer + i] = (ei_buffer_binding){EI_NO_IO, EI_NO_VIEW};
    }
    // There are at most as many as buffers: no two share one.
    for (uint32_t i = 0; i < count; i++) {
        const int is_input = i < program->input_count;
        const ei_status status = check_one_io(model, program, io_tensor(model, program, i), i,
                                              is_input ? EI_BUFFER_INPUT : EI_BUFFER_OUTPUT);
        if (status != EI_OK) {
            return ei_fail_in(status, "graph %s %" PRIu32, is_input ? "input" : "output",
                              is_input ? i : i - program->input_count);
        }
    }
    for (uint32_t i = 0; i < program->buffer_count; i++) {
        const ei_buffer_record *buffer = &model->buffers[program->first_buffer + i];
        if (buffer->flags != 0 && model->bindings[program->first_buffer + i].io == EI_NO_IO) {
            return ei_fail(EI_ERROR_FORMAT,
                           "buffer %" PRIu32
                           ": flags is 0x%x, but no graph input or output fills it",
                           i, buffer->flags);
        }
    }
    // The caller's memory is aligned to the elements of the graph input or output only.
    for (uint32_t i = 0; i < program->tensor_count; i++) {
        const uint32_t index = program->first_tensor + i;
        const ei_tensor_record *tensor = &model->tensors[index];
        if (ei_tensor_is_constant(tensor)) {
            continue;
        }
        const uint32_t io = model->bindings[program->first_buffer + tensor->buffer].io;
        if (io == EI_NO_IO) {
            continue;
        }
        const ei_tensor_record *filler = &model->tensors[io_tensor(model, program, io)];
        if (ei_dtype_bytes(tensor->dtype) > ei_dtype_bytes(filler->dtype)) {
            return ei_fail_in_tensor(
                ei_fail(EI_ERROR_FORMAT,
                        "has larger elements than the graph input or output that fills its buffer"),
                model, index);
        }
    }
    return EI_OK;
}

ei_status ei_check_promises(const ei_program_record *program, const ei_node_totals *totals) {
    if (program->scratch_bytes < totals->scratch_bytes) {
        return ei_fail(EI_ERROR_FORMAT, "scratch_bytes is %" PRIu64 ", its operators need %" PRIu64,
                       program->scratch_bytes, totals->scratch_bytes);
    }
    if (program->weights_bytes != totals->weights_bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "weights_bytes is %" PRIu64 ", its nodes read %" PRIu64
                       " bytes of distinct constants",
                       program->weights_bytes, totals->weights_bytes);
    }
    int overflow = 0;
    const ei_session_layout layout = ei_session_layout_of(program, totals->operands, &overflow);
    if (overflow || program->session_bytes != layout.bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "session_bytes is %" PRIu64 ", its parts make %" PRIu64 " bytes%s",
                       program->session_bytes, layout.bytes, overflow ? " and more" : "");
    }
    return EI_OK;
}

static ei_status check_alive(const ei_model *model, const ei_program_record *program,
                             uint32_t tensor, uint32_t step) {
    const ei_buffer_record *buffer = ei_program_buffer(model, program, &model->tensors[tensor]);
    if (step < buffer->first_step || step > buffer->last_step) {
        const ei_status status =
            ei_fail(EI_ERROR_FORMAT,
                    "its buffer %" PRIu32 " lives from step %" PRIu32 " to %" PRIu32 " only",
                    model->tensors[tensor].buffer, buffer->first_step, buffer->last_step);
        return ei_fail_in_tensor(status, model, tensor);
    }
    return EI_OK;
}

/// Rows of activation input i that a step reads.
static ei_row_range rows_read(const ei_op *op, const ei_node *node, uint32_t i,
                              const ei_step_record *step) {
    return op->input_rows == NULL ? (ei_row_range){0, ei_node_input(node, i)->rows}
                                  : op->input_rows(node, i, step->row_begin, step->row_end);
}

/// Of a node with an input that overlaps an output: does this step write where it reads rows `range`
/// of input i?
static ei_status check_apart(const ei_node *node, const ei_op *op, uint32_t i, ei_row_range range,
                             const ei_step_record *step) {
    const ei_tensor_record *input = ei_node_input(node, i);
    for (uint32_t o = 0; o < node->record->output_count; o++) {
        const ei_tensor_record *output = ei_node_output(node, o);
        if ((op->in_place && ei_tensors_coincide(input, output)) ||
            !ei_rows_meet(input, range.begin, range.end, output, step->row_begin, step->row_end)) {
            continue;
        }
        return ei_fail(
            EI_ERROR_FORMAT,
            "operands %" PRIu32 " and %" PRIu32 " overlap in buffer %" PRIu32 ": rows %" PRIu32
            " to %" PRIu32 " are read where rows %" PRIu32 " to %" PRIu32 " are written, but %s",
            i, node->record->input_count + o, output->buffer, range.begin, range.end,
            step->row_begin, step->row_end,
            op->in_place ? "working in place needs the same bytes, shape and element size"
                         : "the operator does not work in place");
    }
    return EI_OK;
}

static ei_status check_step_operands(const ei_model *model, const ei_program_record *program,
                                     uint32_t index, const ei_step_record *step) {
    const uint32_t node_index = program->first_node + step->node;
    const ei_node_record *record = &model->nodes[node_index];
    const ei_op *op = ei_op_find(record->op);
    ei_contents *contents = &model->checks->contents;
    const ei_node node = ei_model_node(model, node_index);
    const uint64_t operands = (uint64_t)record->input_count + record->output_count;
    model->checks->step_work += operands * operands;
    if (model->checks->step_work > EI_STEP_WORK) {
        return ei_fail(
            EI_ERROR_FORMAT,
            "steps up to this one have too many operands: their squares add up to %" PRIu64,
            model->checks->step_work);
    }
    // All rows that the step needs are fed before it runs, which may cost rings their oldest.
    for (uint32_t i = 0; contents->has_rings && i < record->input_count; i++) {
        if (ei_node_input(&node, i) != NULL && !ei_tensor_is_constant(ei_node_input(&node, i))) {
            const ei_row_range range = rows_read(op, &node, i, step);
            ei_contents_feed(contents, model, program, node.operands[i], range.begin, range.end);
        }
    }
    for (uint32_t i = 0; i < record->input_count; i++) {
        const uint32_t tensor = node.operands[i];
        if (tensor == EI_NO_TENSOR || ei_tensor_is_constant(&model->tensors[tensor])) {
            continue;
        }
        EI_TRY(check_alive(model, program, tensor, index));
        const uint32_t rows = model->tensors[tensor].rows;
        const ei_row_range range = rows_read(op, &node, i, step);
        if (range.begin > range.end || range.end > rows) {
            return ei_fail(EI_ERROR_OPERATOR,
                           "operand %" PRIu32 ": rows %" PRIu32 " to %" PRIu32
                           " are needed, the tensor has %" PRIu32,
                           i, range.begin, range.end, rows);
        }
        EI_TRY(ei_contents_read(contents, model, program, tensor, range.begin, range.end));
        if (model->checks->node_overlaps[node_index]) {
            EI_TRY(check_apart(&node, op, i, range, step));
        }
    }
    for (uint32_t o = 0; o < record->output_count; o++) {
        const uint32_t tensor = node.operands[record->input_count + o];
        EI_TRY(check_alive(model, program, tensor, index));
        if (o == 0 && op->own_rows != NULL) {
            const ei_row_range own = op->own_rows(&node, step->row_begin);
            EI_TRY(ei_contents_read(contents, model, program, tensor, own.begin, own.end));
        }
        EI_TRY(ei_contents_write(contents, model, program, tensor, step->row_begin, step->row_end));
    }
    return EI_OK;
}

static ei_status check_step(const ei_model *model, const ei_program_record *program,
                            uint32_t index) {
    const ei_step_record *step = &model->steps[program->first_step + index];
    if (step->node >= program->node_count) {
        return ei_fail(EI_ERROR_FORMAT, "node is %" PRIu32 ", the program has %" PRIu32, step->node,
                       program->node_count);
    }
    if (step->reserved != 0) {
        return ei_fail(EI_ERROR_FORMAT, "reserved must be 0");
    }
    const ei_node_record *node = &model->nodes[program->first_node + step->node];
    const uint32_t output = model->operands[node->first_operand + node->input_count];
    const uint32_t rows = model->tensors[output].rows;
    ei_status status = EI_OK;
    if (step->row_begin >= step->row_end || step->row_end > rows) {
        status = ei_fail(EI_ERROR_FORMAT,
                         "rows %" PRIu32 " to %" PRIu32
                         " must be at least one and inside the output, %" PRIu32 " rows",
                         step->row_begin, step->row_end, rows);
    } else if (ei_op_find(node->op)->whole_steps && step->row_end - step->row_begin != rows) {
        status = ei_fail(EI_ERROR_FORMAT,
                         "rows %" PRIu32 " to %" PRIu32 " must be all of the output's %" PRIu32
                         ": the operator computes them at once",
                         step->row_begin, step->row_end, rows);
    } else {
        status = check_step_operands(model, program, index, step);
    }
    return status == EI_OK ? EI_OK
                           : ei_fail_in_node(status, model, program->first_node + step->node);
}

ei_status ei_check_steps(const ei_model *model, const ei_program_record *program) {
    ei_contents *contents = &model->checks->contents;
    EI_TRY(ei_contents_start(contents, model, program));
    for (uint32_t i = 0; i < program->step_count; i++) {
        contents->step = i;
        const ei_status status = check_step(model, program, i);
        if (status != EI_OK) {
            return ei_fail_in(status, "step %" PRIu32, i);
        }
    }
    EI_TRY(ei_contents_finish(contents, model, program));
    for (uint32_t i = 0; i < program->output_count; i++) {
        const uint32_t tensor = model->operands[program->first_output + i];
        const ei_status status =
            ei_contents_read(contents, model, program, tensor, 0, model->tensors[tensor].rows);
        if (status != EI_OK) {
            return ei_fail_in(status, "after the last step: graph output %" PRIu32, i);
        }
    }
    return EI_OK;
}
