#include "ops/check.h"
#include "ops/resize.h"
#include "ops/row_boxes.h"

enum { X, ROWS, ROW_WEIGHTS, COLUMNS, COLUMN_WEIGHTS };

/// Constants of `taps` indices below `size`, and weights, for each of `entries`.
static ei_status check_taps(const ei_node *node, uint32_t i, const char *what, int32_t entries,
                            int32_t taps, int32_t size) {
    const ei_tensor_record *indices = ei_node_input(node, i);
    const ei_tensor_record *weights = ei_node_input(node, i + 1);
    const uint64_t wanted = (uint64_t)entries * (uint64_t)taps; // wraps in 32 bits
    EI_TRY(ei_check_constant_elements(indices, what, EI_INT32, wanted));
    const size_t count = (size_t)wanted; // as many elements as a tensor holds
    EI_TRY(ei_check_int_array(ei_node_constant(node, indices), count, what, 0, size - 1));
    EI_TRY(ei_check_constant_elements(weights, what, EI_FLOAT32, count));
    return ei_check_finite_array(ei_node_constant(node, weights), count, what);
}

static ei_status check(const ei_node *node) {
    const ei_resize_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_resize(x, y));
    EI_TRY(ei_check_int(p->row_taps, "row_taps", 1, EI_MAX_TENSOR_BYTES));
    EI_TRY(ei_check_int(p->column_taps, "column_taps", 1, EI_MAX_TENSOR_BYTES));
    EI_TRY(check_taps(node, ROWS, "rows", y->dims[1], p->row_taps, x->dims[1]));
    return check_taps(node, COLUMNS, "columns", y->dims[2], p->column_taps, x->dims[2]);
}

static ei_row_range axis_reads(const ei_node *node, uint32_t axis, uint32_t begin, uint32_t count) {
    if (axis == 0) {
        return (ei_row_range){begin, begin + count};
    }
    const ei_resize_f32_params *p = node->params;
    const size_t taps = (size_t)p->row_taps;
    const int32_t *rows = ei_node_constant(node, ei_node_input(node, ROWS));
    ei_row_range range = {UINT32_MAX, 0};
    for (size_t i = begin * taps; i < (begin + count) * taps; i++) {
        const uint32_t row = (uint32_t)rows[i];
        range.begin = row < range.begin ? row : range.begin;
        range.end = row + 1 > range.end ? row + 1 : range.end;
    }
    return range;
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    return ei_row_boxes_read(node, ei_node_input(node, i), ei_node_output(node, 0), axis_reads,
                             begin, end);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_resize_f32_params *p = node->params;
    const ei_tensor_record *x_tensor = ei_input_view(node, X)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const int32_t *rows = (const int32_t *)ei_input_view(node, ROWS)->base;
    const float *row_weights = (const float *)ei_input_view(node, ROW_WEIGHTS)->base;
    const uint32_t x_height = (uint32_t)x_tensor->dims[1];
    const uint32_t y_height = (uint32_t)y_tensor->dims[1];
    ei_resize_f32_args args = {
        .x = ei_view_rows(ei_input_view(node, X)),
        .width = (size_t)y_tensor->dims[2],
        .channels = (size_t)y_tensor->dims[3],
        .row_taps = (size_t)p->row_taps,
        .column_taps = (size_t)p->column_taps,
        .columns = (const int32_t *)ei_input_view(node, COLUMNS)->base,
        .column_weights = (const float *)ei_input_view(node, COLUMN_WEIGHTS)->base,
    };
    for (uint32_t r = begin; r < end; r++) {
        const size_t first = (size_t)(r % y_height) * args.row_taps;
        args.first_row = r / y_height * x_height;
        args.rows = rows + first;
        args.row_weights = row_weights + first;
        args.y = (float *)ei_row(&y, r);
        context->kernels->resize_f32(&args);
    }
    return EI_OK;
}

const ei_op ei_op_resize_f32 = {
    .name = "resize_f32",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
