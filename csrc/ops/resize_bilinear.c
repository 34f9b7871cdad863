#include "ops/check.h"
#include "ops/convert.h"
#include "ops/resize.h"
#include "ops/row_boxes.h"

enum { X, ROWS, COLUMNS };

static ei_status check(const ei_node *node) {
    const ei_resize_bilinear_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_QUANTIZE));
    EI_TRY(ei_check_resize(x, y));
    EI_TRY(ei_check_int(p->fraction_bits, "fraction_bits", 1, 20));
    EI_TRY(ei_check_int(p->half_away, "half_away", 0, 1));
    const int32_t one = 1 << p->fraction_bits;
    EI_TRY(ei_check_resize_table(node, ROWS, "rows", y->dims[1], x->dims[1], one));
    return ei_check_resize_table(node, COLUMNS, "columns", y->dims[2], x->dims[2], one);
}

static ei_row_range axis_reads(const ei_node *node, uint32_t axis, uint32_t begin, uint32_t count) {
    if (axis == 0) {
        return (ei_row_range){begin, begin + count};
    }
    const int32_t *rows = ei_node_constant(node, ei_node_input(node, ROWS));
    const uint32_t last = begin + count - 1;
    return (ei_row_range){(uint32_t)rows[(size_t)begin * 3],
                          (uint32_t)rows[(size_t)last * 3 + 1] + 1};
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    return ei_row_boxes_read(node, ei_node_input(node, i), ei_node_output(node, 0), axis_reads,
                             begin, end);
}

static ei_resize_bilinear_fn kernel_for(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->resize_bilinear_s8;
    case EI_UINT8: return kernels->resize_bilinear_u8;
    default: return kernels->resize_bilinear_s16;
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_resize_bilinear_params *p = node->params;
    const ei_tensor_record *x_tensor = ei_input_view(node, X)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, X));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const int32_t *rows = (const int32_t *)ei_input_view(node, ROWS)->base;
    const uint32_t x_height = (uint32_t)x_tensor->dims[1];
    const uint32_t y_height = (uint32_t)y_tensor->dims[1];
    const ei_resize_bilinear_fn kernel = kernel_for(context->kernels, y_tensor->dtype);
    ei_resize_bilinear_args args = {
        .columns = (const int32_t *)ei_input_view(node, COLUMNS)->base,
        .width = (size_t)y_tensor->dims[2],
        .channels = (size_t)y_tensor->dims[3],
        .fraction_bits = p->fraction_bits,
        .half_away = p->half_away,
    };
    for (uint32_t r = begin; r < end; r++) {
        const uint32_t first = r / y_height * x_height;
        const int32_t *entry = rows + (size_t)(r % y_height) * 3;
        args.top = ei_row(&x, first + (uint32_t)entry[0]);
        args.bottom = ei_row(&x, first + (uint32_t)entry[1]);
        args.bottom_weight = entry[2];
        args.y = ei_row(&y, r);
        kernel(&args);
    }
    return EI_OK;
}

const ei_op ei_op_resize_bilinear = {
    .name = "resize_bilinear",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
