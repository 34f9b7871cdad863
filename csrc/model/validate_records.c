// What can be said of strings and tensors by themselves, and how programs divide the records of the
// file among themselves.
#include "model/validate.h"

#include <float.h>
#include <inttypes.h>

#include "base/dtype.h"
#include "base/size.h"
#include "base/sort.h"
#include "base/text.h"

ei_status ei_fail_in_tensor(ei_status status, const ei_model *model, uint32_t tensor) {
    return ei_fail_in(
        status, "tensor %" PRIu32 " '%s'", tensor,
        ei_printable(ei_model_string(model, model->tensors[tensor].name), &(ei_text){0}));
}

ei_status ei_check_strings(const ei_model *model) {
    if (model->strings_bytes == 0 || model->strings[0] != 0) {
        return ei_fail(EI_ERROR_FORMAT, "strings: must start with a zero byte, the empty string");
    }
    if (model->strings[model->strings_bytes - 1] != 0) {
        return ei_fail(EI_ERROR_FORMAT, "strings: the last one is not ended by a zero byte");
    }
    return EI_OK;
}

static ei_status check_shape(const ei_tensor_record *tensor) {
    if (tensor->rank > EI_MAX_RANK) {
        return ei_fail(EI_ERROR_FORMAT, "rank is %d, must be at most %d", tensor->rank,
                       EI_MAX_RANK);
    }
    const uint32_t element = ei_dtype_bytes(tensor->dtype);
    // The last axis is a row; from rank 4 on, the last two are.
    const uint32_t row_axes = tensor->rank >= 4 ? 2 : (tensor->rank >= 1 ? 1 : 0);
    int overflow = 0;
    uint64_t rows = 1;
    uint64_t row_bytes = element;
    for (uint32_t i = 0; i < EI_MAX_RANK; i++) {
        const int32_t dim = tensor->dims[i];
        if (i >= tensor->rank && dim != 1) {
            return ei_fail(EI_ERROR_FORMAT,
                           "dims[%" PRIu32 "] is %" PRId32 ", must be 1: rank is %d", i, dim,
                           tensor->rank);
        }
        if (dim < 1) {
            return ei_fail(EI_ERROR_FORMAT, "dims[%" PRIu32 "] is %" PRId32 ", must be at least 1",
                           i, dim);
        }
        uint64_t *part = i + row_axes < tensor->rank ? &rows : &row_bytes;
        *part = ei_size_mul(*part, (uint32_t)dim, &overflow);
    }
    const uint64_t bytes = ei_size_mul(rows, row_bytes, &overflow);
    if (overflow || bytes > EI_MAX_TENSOR_BYTES) {
        return ei_fail(EI_ERROR_FORMAT, "its shape takes more than %d bytes, the largest tensor",
                       EI_MAX_TENSOR_BYTES);
    }
    if (tensor->rows != rows) {
        return ei_fail(EI_ERROR_FORMAT, "rows is %" PRIu32 ", its shape has %" PRIu64, tensor->rows,
                       rows);
    }
    if (tensor->row_bytes != row_bytes) {
        return ei_fail(EI_ERROR_FORMAT, "row_bytes is %" PRIu32 ", its shape has %" PRIu64,
                       tensor->row_bytes, row_bytes);
    }
    if (tensor->ring_rows < 1 || tensor->ring_rows > tensor->rows) {
        return ei_fail(EI_ERROR_FORMAT,
                       "ring_rows is %" PRIu32 ", must be from 1 to rows, %" PRIu32,
                       tensor->ring_rows, tensor->rows);
    }
    return EI_OK;
}

static ei_status check_constant(const ei_model *model, const ei_tensor_record *tensor) {
    const uint32_t bytes = ei_tensor_dense_bytes(tensor);
    if (tensor->offset % EI_CONSTANT_ALIGNMENT != 0) {
        return ei_fail(EI_ERROR_FORMAT,
                       "offset is %" PRIu64 ", that of a constant must be a multiple of %d",
                       tensor->offset, EI_CONSTANT_ALIGNMENT);
    }
    if (!ei_size_inside(tensor->offset, bytes, model->constants_bytes)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "%" PRIu32 " bytes at offset %" PRIu64
                       " go past the end of the constants section, %zu",
                       bytes, tensor->offset, model->constants_bytes);
    }
    if (tensor->ring_rows != tensor->rows) {
        return ei_fail(EI_ERROR_FORMAT,
                       "ring_rows is %" PRIu32 ", that of a constant must be rows, %" PRIu32,
                       tensor->ring_rows, tensor->rows);
    }
    return EI_OK;
}

static ei_status check_tensor(const ei_model *model, const ei_tensor_record *tensor) {
    if (tensor->name >= model->strings_bytes) {
        return ei_fail(EI_ERROR_FORMAT, "name is %" PRIu32 ", the strings section has %zu bytes",
                       tensor->name, model->strings_bytes);
    }
    if (ei_dtype_bytes(tensor->dtype) == 0) {
        return ei_fail(EI_ERROR_FORMAT, "dtype is %d, which is none", tensor->dtype);
    }
    if (tensor->flags > EI_WEIGHTS_NVFP4) {
        return ei_fail(EI_ERROR_FORMAT, "flags is 0x%x, which is no scheme of weights",
                       tensor->flags);
    }
    if (tensor->flags != EI_WEIGHTS_PLAIN &&
        (tensor->buffer != EI_NO_BUFFER || tensor->dtype != EI_UINT8)) {
        return ei_fail(EI_ERROR_FORMAT, "flags is 0x%x, must be 0 for what is no constant of uint8",
                       tensor->flags);
    }
    EI_TRY(check_shape(tensor));
    if (!(tensor->scale >= 0.0f && tensor->scale <= FLT_MAX)) {
        return ei_fail(EI_ERROR_FORMAT, "scale is %g, must be finite and not below zero",
                       (double)tensor->scale);
    }
    return tensor->buffer == EI_NO_BUFFER ? check_constant(model, tensor) : EI_OK;
}

ei_status ei_check_tensors(const ei_model *model) {
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        const ei_status status = check_tensor(model, &model->tensors[i]);
        if (status != EI_OK) {
            return ei_fail_in_tensor(status, model, i);
        }
    }
    return EI_OK;
}

static int constant_is_before(const void *context, uint32_t a, uint32_t b) {
    const ei_tensor_record *tensors = context;
    if (tensors[a].offset != tensors[b].offset) {
        return tensors[a].offset < tensors[b].offset;
    }
    return ei_tensor_dense_bytes(&tensors[a]) < ei_tensor_dense_bytes(&tensors[b]);
}

void ei_group_constants(const ei_model *model) {
    uint32_t *order = model->checks->contents.order;
    uint32_t *group = model->checks->constant_group;
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        if (model->tensors[i].buffer == EI_NO_BUFFER) {
            order[count++] = i;
        }
    }
    ei_sort(order, count, constant_is_before, model->tensors);
    for (uint32_t i = 0; i < count; i++) {
        const int starts = i == 0 || constant_is_before(model->tensors, order[i - 1], order[i]);
        group[order[i]] = starts ? i : group[order[i - 1]];
    }
}

/// Programs must use up a section one after the other: `next` is where this one's range starts.
static ei_status check_range(const char *what, uint32_t first, uint32_t count, uint32_t next,
                             uint32_t total) {
    if (first != next) {
        return ei_fail(EI_ERROR_FORMAT,
                       "first_%s is %" PRIu32 ", must be %" PRIu32
                       ", where the program before ends",
                       what, first, next);
    }
    if (count > total - first) {
        return ei_fail(EI_ERROR_FORMAT,
                       "%s_count is %" PRIu32 " from %" PRIu32 " on, the file has %" PRIu32, what,
                       count, first, total);
    }
    return EI_OK;
}

static ei_status check_operand_range(const ei_model *model, const char *what, uint32_t first,
                                     uint32_t count) {
    if (!ei_size_inside(first, count, model->operand_count)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "%s_count is %" PRIu32 " from operand %" PRIu32 " on, the file has %" PRIu32,
                       what, count, first, model->operand_count);
    }
    return EI_OK;
}

static ei_status check_program_range(const ei_model *model, const ei_program_record *program,
                                     const ei_program_record *before) {
    static const ei_program_record start = {0};
    const ei_program_record *b = before == NULL ? &start : before;
    EI_TRY(check_range("buffer", program->first_buffer, program->buffer_count,
                       b->first_buffer + b->buffer_count, model->buffer_count));
    EI_TRY(check_range("node", program->first_node, program->node_count,
                       b->first_node + b->node_count, model->node_count));
    EI_TRY(check_range("step", program->first_step, program->step_count,
                       b->first_step + b->step_count, model->step_count));
    // Constants belong to all programs: they may lie between the activations of one and the next.
    if (program->first_tensor < b->first_tensor + b->tensor_count) {
        return ei_fail(EI_ERROR_FORMAT,
                       "first_tensor is %" PRIu32 ", the program before has tensors up to %" PRIu32,
                       program->first_tensor, b->first_tensor + b->tensor_count);
    }
    if (!ei_size_inside(program->first_tensor, program->tensor_count, model->tensor_count)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "tensor_count is %" PRIu32 " from %" PRIu32 " on, the file has %" PRIu32,
                       program->tensor_count, program->first_tensor, model->tensor_count);
    }
    EI_TRY(check_operand_range(model, "input", program->first_input, program->input_count));
    EI_TRY(check_operand_range(model, "output", program->first_output, program->output_count));
    if (program->buffer_count > EI_MAX_BUFFERS) {
        return ei_fail(EI_ERROR_FORMAT, "buffer_count is %" PRIu32 ", must be at most %d",
                       program->buffer_count, EI_MAX_BUFFERS);
    }
    if (program->node_count == 0 || program->step_count == 0 || program->output_count == 0) {
        return ei_fail(EI_ERROR_FORMAT,
                       "node_count, step_count and output_count are %" PRIu32 ", %" PRIu32
                       " and %" PRIu32 ", must be at least 1",
                       program->node_count, program->step_count, program->output_count);
    }
    if (program->peak_step >= program->step_count) {
        return ei_fail(EI_ERROR_FORMAT,
                       "peak_step is %" PRIu32 ", the program has %" PRIu32 " steps",
                       program->peak_step, program->step_count);
    }
    if (program->reserved[0] != 0 || program->reserved[1] != 0) {
        return ei_fail(EI_ERROR_FORMAT, "reserved must be 0");
    }
    for (uint32_t i = 0; i < sizeof program->reserved2; i++) {
        if (program->reserved2[i] != 0) {
            return ei_fail(EI_ERROR_FORMAT, "reserved2 must be 0");
        }
    }
    return EI_OK;
}

/// Tensors from `begin` to `end` belong to no program, so they must be constants.
static ei_status check_between(const ei_model *model, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; i++) {
        if (model->tensors[i].buffer != EI_NO_BUFFER) {
            return ei_fail_in_tensor(
                ei_fail(EI_ERROR_FORMAT, "is no constant and belongs to no program"), model, i);
        }
    }
    return EI_OK;
}

ei_status ei_check_program_ranges(const ei_model *model) {
    if (model->program_count == 0 || model->program_count > EI_MAX_PROGRAMS) {
        return ei_fail(EI_ERROR_FORMAT, "programs: there are %" PRIu32 ", must be from 1 to %d",
                       model->program_count, EI_MAX_PROGRAMS);
    }
    uint32_t tensors_end = 0;
    for (uint32_t i = 0; i < model->program_count; i++) {
        const ei_program_record *program = &model->programs[i];
        if (program->name >= model->strings_bytes) {
            return ei_fail(EI_ERROR_FORMAT,
                           "program %" PRIu32 ": name is %" PRIu32
                           ", the strings section has %zu bytes",
                           i, program->name, model->strings_bytes);
        }
        const ei_status status = check_program_range(model, program, i == 0 ? NULL : program - 1);
        if (status != EI_OK) {
            return ei_fail_in(status, "program %" PRIu32 " '%s'", i,
                              ei_printable(ei_model_string(model, program->name), &(ei_text){0}));
        }
        EI_TRY(check_between(model, tensors_end, program->first_tensor));
        tensors_end = program->first_tensor + program->tensor_count;
    }
    EI_TRY(check_between(model, tensors_end, model->tensor_count));
    const ei_program_record *last = &model->programs[model->program_count - 1];
    const uint32_t buffers = last->first_buffer + last->buffer_count;
    const uint32_t nodes = last->first_node + last->node_count;
    const uint32_t steps = last->first_step + last->step_count;
    if (buffers != model->buffer_count || nodes != model->node_count ||
        steps != model->step_count) {
        return ei_fail(
            EI_ERROR_FORMAT,
            "programs: together they have %" PRIu32 " buffers, %" PRIu32 " nodes and %" PRIu32
            " steps, the file %" PRIu32 ", %" PRIu32 " and %" PRIu32,
            buffers, nodes, steps, model->buffer_count, model->node_count, model->step_count);
    }
    return EI_OK;
}

ei_status ei_check_program_tensors(const ei_model *model, const ei_program_record *program) {
    for (uint32_t i = 0; i < program->tensor_count; i++) {
        const uint32_t index = program->first_tensor + i;
        const ei_tensor_record *tensor = &model->tensors[index];
        if (tensor->buffer == EI_NO_BUFFER) {
            continue;
        }
        ei_status status = EI_OK;
        if (tensor->buffer >= program->buffer_count) {
            status = ei_fail(EI_ERROR_FORMAT, "buffer is %" PRIu32 ", the program has %" PRIu32,
                             tensor->buffer, program->buffer_count);
        } else if (tensor->offset % ei_dtype_bytes(tensor->dtype) != 0) {
            status = ei_fail(EI_ERROR_FORMAT,
                             "offset is %" PRIu64 ", must be a multiple of its element, %" PRIu32
                             " bytes",
                             tensor->offset, ei_dtype_bytes(tensor->dtype));
        } else {
            const uint64_t held = ei_tensor_held_bytes(tensor);
            const uint64_t limit = ei_program_buffer(model, program, tensor)->bytes;
            if (!ei_size_inside(tensor->offset, held, limit)) {
                status = ei_fail(EI_ERROR_FORMAT,
                                 "%" PRIu64 " bytes at offset %" PRIu64
                                 " go past the end of buffer %" PRIu32 ", %" PRIu64,
                                 held, tensor->offset, tensor->buffer, limit);
            }
        }
        if (status != EI_OK) {
            return ei_fail_in_tensor(status, model, index);
        }
    }
    return EI_OK;
}
