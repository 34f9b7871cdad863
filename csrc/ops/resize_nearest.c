#include "ops/check.h"
#include "ops/resize.h"
#include "ops/row_boxes.h"

enum { X, ROWS, COLUMNS };

static ei_status check(const ei_node *node) {
    const ei_resize_nearest_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_resize(x, y));
    EI_TRY(ei_check_resize_table(node, ROWS, "rows", y->dims[1], x->dims[1], 0));
    EI_TRY(ei_check_resize_table(node, COLUMNS, "columns", y->dims[2], x->dims[2], 0));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

static ei_row_range axis_reads(const ei_node *node, uint32_t axis, uint32_t begin, uint32_t count) {
    if (axis == 0) {
        return (ei_row_range){begin, begin + count};
    }
    const int32_t *rows = ei_node_constant(node, ei_node_input(node, ROWS));
    return (ei_row_range){(uint32_t)rows[begin], (uint32_t)rows[begin + count - 1] + 1};
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    return ei_row_boxes_read(node, ei_node_input(node, i), ei_node_output(node, 0), axis_reads,
                             begin, end);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_tensor_record *x_tensor = ei_input_view(node, X)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, X));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const int32_t *rows = (const int32_t *)ei_input_view(node, ROWS)->base;
    const int32_t *columns = (const int32_t *)ei_input_view(node, COLUMNS)->base;
    const uint32_t x_height = (uint32_t)x_tensor->dims[1];
    const uint32_t y_height = (uint32_t)y_tensor->dims[1];
    const size_t width = (size_t)y_tensor->dims[2];
    for (uint32_t r = begin; r < end; r++) {
        const uint32_t from = r / y_height * x_height + (uint32_t)rows[r % y_height];
        context->kernels->take(ei_row(&x, from), ei_row(&y, r), columns, width,
                               y.row_bytes / width);
    }
    return EI_OK;
}

const ei_op ei_op_resize_nearest = {
    .name = "resize_nearest",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
