#include "ops/lines.h"

#include "ops/check.h"
#include "ops/row_boxes.h"

ei_status ei_lines_check(const ei_node *node, const char *const *names) {
    const ei_tensor_record *y = ei_node_output(node, 0);
    const uint32_t count = node->record->input_count;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < count; i++) {
        EI_TRY(ei_broadcast_check_shape(ei_node_input(node, i), names[i], y));
        const uint32_t own = ei_node_input(node, i)->rank;
        rank = own > rank ? own : rank;
    }
    EI_TRY(ei_check_rank(y, "y", rank, rank));
    for (uint32_t axis = 0; axis < rank; axis++) {
        int stretched = 1; // each operand has 1 there
        for (uint32_t i = 0; i < count; i++) {
            stretched = stretched && ei_aligned_dim(ei_node_input(node, i), y, axis) == 1;
        }
        if (stretched) {
            EI_TRY(ei_check_dim(y, "y", axis, 1));
        }
    }
    return EI_OK;
}

void ei_lines_begin(ei_lines *lines, const ei_bound_node *node, uint32_t begin, uint32_t end) {
    const ei_view *out = ei_output_view(node, 0);
    const ei_tensor_record *y = out->tensor;
    *lines = (ei_lines){
        .count = node->input_count,
        .y = ei_view_rows(out),
        .shape = y,
        .lines = y->rank >= 4 ? (uint32_t)y->dims[y->rank - 2] : 1,
        .row = begin,
        .end = end,
    };
    for (uint32_t i = 0; i < lines->count; i++) {
        const ei_view *view = ei_input_view(node, i);
        lines->operands[i] = ei_broadcast_operand_of(view, y);
        lines->bytes[i] = ei_dtype_bytes(view->tensor->dtype);
    }
}

int ei_lines_next(ei_lines *lines, ei_plain_line *line) {
    const ei_tensor_record *y = lines->shape;
    if (lines->row >= lines->end) {
        return 0;
    }
    const uint32_t rank = y->rank;
    const uint32_t width = rank == 0 ? 1 : (uint32_t)y->dims[rank - 1];
    const void *at[EI_MAX_LINE_OPERANDS] = {NULL, NULL, NULL};
    uint32_t steps[EI_MAX_LINE_OPERANDS] = {0, 0, 0};
    for (uint32_t i = 0; i < lines->count; i++) {
        const ei_broadcast_operand *operand = &lines->operands[i];
        const uint32_t stride = lines->lines > 1 ? operand->strides[rank - 2] : 0;
        at[i] =
            ei_broadcast_at(operand, y, lines->row, (size_t)lines->line * stride, lines->bytes[i]);
        steps[i] = rank == 0 ? 0 : operand->strides[rank - 1];
    }
    *line = (ei_plain_line){
        .a = at[0],
        .b = at[1],
        .c = at[2],
        .y = ei_row(&lines->y, lines->row) + (size_t)lines->line * width * ei_dtype_bytes(y->dtype),
        .count = width,
        .a_step = steps[0],
        .b_step = steps[1],
        .c_step = steps[2],
    };
    if (++lines->line == lines->lines) {
        lines->line = 0;
        lines->row++;
    }
    return 1;
}
