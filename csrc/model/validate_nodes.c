// Nodes: records, operands, and the contracts of their operators.
#include "model/validate.h"

#include <inttypes.h>

#include "base/dtype.h"
#include "base/size.h"
#include "base/text.h"
#include "model/overlap.h"
#include "ops/op.h"

/// Operators look at the values of their constants, which nodes may share: a file in which every
/// node refers to the same large one would keep the validator busy for hours. So what all nodes refer
/// to together is limited to this many bytes, plus this many times the constants section.
#define EI_SCAN_BYTES (1ull << 28)
#define EI_SCAN_TIMES 64

ei_status ei_fail_in_node(ei_status status, const ei_model *model, uint32_t node) {
    const ei_node_record *record = &model->nodes[node];
    const ei_op *op = ei_op_find(record->op);
    return ei_fail_in(status, "node %" PRIu32 " '%s' (%s)", node,
                      ei_printable(ei_model_string(model, record->name), &(ei_text){0}),
                      op == NULL ? "?" : op->name);
}

static ei_status check_record(const ei_model *model, const ei_node_record *record) {
    if (record->name >= model->strings_bytes) {
        return ei_fail(EI_ERROR_FORMAT, "name is %" PRIu32 ", the strings section has %zu bytes",
                       record->name, model->strings_bytes);
    }
    if (record->reserved != 0 || record->reserved2[0] != 0 || record->reserved2[1] != 0) {
        return ei_fail(EI_ERROR_FORMAT, "reserved and reserved2 must be 0");
    }
    const ei_op_shape *shape = ei_op_shape_find(record->op);
    if (shape == NULL) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "op is %d, which this library does not know: update the library",
                       record->op);
    }
    if (record->input_count < shape->min_inputs || record->input_count > shape->max_inputs) {
        return ei_fail(EI_ERROR_OPERATOR, "input_count is %d, must be from %" PRIu32 " to %" PRIu32,
                       record->input_count, shape->min_inputs, shape->max_inputs);
    }
    if (record->output_count != shape->outputs) {
        return ei_fail(EI_ERROR_OPERATOR, "output_count is %d, must be %" PRIu32,
                       record->output_count, shape->outputs);
    }
    if (record->params_bytes != shape->params_bytes) {
        return ei_fail(EI_ERROR_OPERATOR, "params_bytes is %" PRIu32 ", must be %" PRIu32,
                       record->params_bytes, shape->params_bytes);
    }
    if (record->params_offset % 4 != 0 ||
        !ei_size_inside(record->params_offset, record->params_bytes, model->params_bytes)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "params_offset is %" PRIu32 ", must be a multiple of 4 with %" PRIu32
                       " bytes inside the params section, %zu",
                       record->params_offset, record->params_bytes, model->params_bytes);
    }
    const uint32_t operands = (uint32_t)record->input_count + record->output_count;
    if (!ei_size_inside(record->first_operand, operands, model->operand_count)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "%" PRIu32 " operands from first_operand, %" PRIu32
                       ", go past the end of the operands section, %" PRIu32,
                       operands, record->first_operand, model->operand_count);
    }
    return EI_OK;
}

static ei_status check_operand(const ei_model *model, const ei_program_record *program,
                               uint32_t tensor, int is_output) {
    if (tensor == EI_NO_TENSOR) {
        return is_output ? ei_fail(EI_ERROR_FORMAT, "is absent, only inputs may be") : EI_OK;
    }
    if (tensor >= model->tensor_count) {
        return ei_fail(EI_ERROR_FORMAT, "is tensor %" PRIu32 ", the file has %" PRIu32, tensor,
                       model->tensor_count);
    }
    const ei_tensor_record *record = &model->tensors[tensor];
    if (ei_tensor_is_constant(record)) {
        return is_output ? ei_fail(EI_ERROR_FORMAT, "is tensor %" PRIu32 ", a constant", tensor)
                         : EI_OK;
    }
    if (tensor < program->first_tensor || tensor - program->first_tensor >= program->tensor_count) {
        return ei_fail(EI_ERROR_FORMAT, "is tensor %" PRIu32 ", of another program", tensor);
    }
    if (is_output && (ei_program_buffer(model, program, record)->flags & EI_BUFFER_INPUT) != 0) {
        return ei_fail(EI_ERROR_FORMAT,
                       "is tensor %" PRIu32 " in the buffer of a graph input, which is read only",
                       tensor);
    }
    return EI_OK;
}

/// Kernels assume that what a step writes is nothing that it reads, but for operators that say they
/// work in place, on exactly the same elements. Where an input overlaps an output otherwise, rows
/// decide: the steps of the node are asked.
static ei_status check_sharing(const ei_model *model, const ei_program_record *program,
                               uint32_t index) {
    const ei_node_record *record = &model->nodes[index];
    const uint32_t *operands = model->operands + record->first_operand;
    const ei_op *op = ei_op_find(record->op);
    const uint32_t count = (uint32_t)record->input_count + record->output_count;
    for (uint32_t o = record->input_count; o < count; o++) {
        const ei_tensor_record *output = &model->tensors[operands[o]];
        for (uint32_t i = 0; i < o; i++) {
            const int is_input = i < record->input_count;
            if (operands[i] == EI_NO_TENSOR) {
                continue;
            }
            const ei_tensor_record *operand = &model->tensors[operands[i]];
            if (!ei_tensors_meet(operand, output) ||
                (is_input && op->in_place && ei_tensors_coincide(operand, output))) {
                continue;
            }
            if (is_input && ei_program_buffer(model, program, output)->region == EI_REGION_ARENA) {
                model->checks->node_overlaps[index] = 1;
                continue;
            }
            return ei_fail(EI_ERROR_FORMAT,
                           "operands %" PRIu32 " and %" PRIu32 " overlap in buffer %" PRIu32 ": %s",
                           i, o, output->buffer,
                           is_input && op->in_place
                               ? "working in place needs the same bytes, shape and element size"
                               : "the operator does not work in place");
        }
    }
    return EI_OK;
}

static void count_constant(const ei_model *model, const ei_program_record *program, uint32_t tensor,
                           ei_node_totals *totals) {
    ei_validation *checks = model->checks;
    const ei_tensor_record *constant = &model->tensors[tensor];
    const uint32_t bytes = ei_tensor_dense_bytes(constant);
    const uint32_t program_number = (uint32_t)(program - model->programs) + 1;
    uint32_t *last_program = &checks->group_program[checks->constant_group[tensor]];
    if (*last_program != program_number) {
        *last_program = program_number;
        totals->weights_bytes += bytes;
    }
    checks->scanned_bytes += bytes;
}

/// Notes the first of a session's views that moves with a graph input or output.
static void bind_view(const ei_model *model, const ei_program_record *program,
                      const ei_tensor_record *tensor, uint64_t view) {
    ei_buffer_binding *binding = &model->bindings[program->first_buffer + tensor->buffer];
    if (binding->io != EI_NO_IO && binding->first_view == EI_NO_VIEW) {
        binding->first_view = (uint32_t)view;
    }
}

static ei_status check_node(const ei_model *model, const ei_program_record *program, uint32_t index,
                            ei_node_totals *totals) {
    const ei_node_record *record = &model->nodes[index];
    const ei_validation *checks = model->checks;
    EI_TRY(check_record(model, record));
    const ei_op *op = ei_op_find(record->op);
    const uint32_t *operands = model->operands + record->first_operand;
    const uint32_t count = (uint32_t)record->input_count + record->output_count;
    for (uint32_t i = 0; i < count; i++) {
        const ei_status status =
            check_operand(model, program, operands[i], i >= record->input_count);
        if (status != EI_OK) {
            return ei_fail_in(status, "operand %" PRIu32, i);
        }
        if (operands[i] == EI_NO_TENSOR) {
            continue;
        }
        if (ei_tensor_is_constant(&model->tensors[operands[i]])) {
            count_constant(model, program, operands[i], totals);
        } else {
            bind_view(model, program, &model->tensors[operands[i]], totals->operands + i);
        }
    }
    totals->operands += count;
    if (totals->operands >= EI_NO_VIEW) {
        return ei_fail(EI_ERROR_FORMAT, "nodes up to this one have %" PRIu64 " operands",
                       totals->operands);
    }
    if (checks->scanned_bytes > EI_SCAN_BYTES + EI_SCAN_TIMES * (uint64_t)model->constants_bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "nodes up to this one refer to %" PRIu64
                       " bytes of constants, far more than the file has of them",
                       checks->scanned_bytes);
    }
    for (uint32_t o = record->input_count + 1u; o < count; o++) {
        const uint32_t rows = model->tensors[operands[record->input_count]].rows;
        if (model->tensors[operands[o]].rows != rows) {
            return ei_fail(EI_ERROR_OPERATOR,
                           "operand %" PRIu32 ": has %" PRIu32
                           " rows, the first output has %" PRIu32,
                           o, model->tensors[operands[o]].rows, rows);
        }
    }
    EI_TRY(check_sharing(model, program, index));

    const ei_node node = ei_model_node(model, index);
    EI_TRY(op->check(&node));
    const uint64_t scratch = op->scratch_bytes == NULL ? 0 : op->scratch_bytes(&node);
    if (scratch > totals->scratch_bytes) {
        totals->scratch_bytes = scratch;
    }
    return EI_OK;
}

ei_status ei_check_nodes(const ei_model *model, const ei_program_record *program,
                         ei_node_totals *totals) {
    for (uint32_t i = 0; i < program->node_count; i++) {
        const uint32_t index = program->first_node + i;
        const ei_status status = check_node(model, program, index, totals);
        if (status != EI_OK) {
            return ei_fail_in_node(status, model, index);
        }
    }
    return EI_OK;
}
