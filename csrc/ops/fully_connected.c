#include <stddef.h>

#include "kernels/conv2d_s8_f4/conv2d_s8_f4.h"
#include "ops/check.h"
#include "ops/op.h"
#include "ops/packed.h"
#include "ops/row_runs.h"

enum { X, WEIGHTS, BIAS, MULTIPLIER };

static ei_status check(const ei_node *node) {
    const ei_fully_connected_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_activation(x, "x"));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_S8_S16));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_rank(y, "y", x->rank, x->rank));
    const uint32_t last = x->rank - 1u;
    for (uint32_t axis = 0; axis < last; axis++) {
        EI_TRY(ei_check_dim(y, "y", axis, x->dims[axis]));
    }
    const ei_packed_shape packed = {
        .groups = 1, .channels = y->dims[last], .segments = 1, .length = x->dims[last]};
    if (ei_weights_scheme(ei_node_input(node, WEIGHTS)) != 0) {
        EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_INT8)));
        EI_TRY(ei_check_packed_f4(node, &packed));
    } else {
        EI_TRY(ei_check_packed(node, &packed));
    }
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

/// Vectors as pixels of one image.
static void run_f4(const ei_bound_node *node, const ei_run_context *context, uint32_t vectors,
                   const ei_requant *requant, uint32_t begin, uint32_t end) {
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const int32_t rows = (int32_t)y->tensor->rows;
    const int32_t k = x->tensor->dims[x->tensor->rank - 1];
    const ei_packed_range range = ei_packed_f4_range_of(node, context, (size_t)k, sizeof(int8_t));
    const ei_conv2d_s8_f4_args args = {.x = ei_view_rows(x),
                                       .y = ei_view_rows_at(y, range.y),
                                       .weights = range.weights,
                                       .bias = range.bias,
                                       .multiplier = range.multiplier,
                                       .window = {rows, (int32_t)vectors, k, rows, (int32_t)vectors,
                                                  (int32_t)range.count, 1, 1, 1, 1, 1, 1, 0, 0},
                                       .y_step = (size_t)y->tensor->dims[y->tensor->rank - 1],
                                       .groups = 1,
                                       .scheme =
                                           ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor),
                                       .requant = *requant};
    ei_conv2d_s8_f4(&args, context->kernels->packed_gemm_s8_f4, begin, end);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_fully_connected_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const uint32_t k = (uint32_t)x->tensor->dims[x->tensor->rank - 1];
    const uint32_t n = (uint32_t)y->tensor->dims[y->tensor->rank - 1];
    // Rows are vectors up to rank 3, and matrices above.
    const uint32_t vectors =
        x->tensor->rank < 4 ? 1 : (uint32_t)x->tensor->dims[x->tensor->rank - 2];
    const ei_requant requant = {p->out_zero_point, p->clamp_min, p->clamp_max};
    if (ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor) != 0) {
        run_f4(node, context, vectors, &requant, begin, end);
        return EI_OK;
    }
    const ei_packed_range range = ei_packed_range_of(node, context, ((size_t)k + 3) & ~(size_t)3);
    ei_rows y_rows = ei_view_rows(y);
    y_rows.base = range.y;
    if (x->tensor->dtype == EI_INT8) {
        const ei_fully_connected_s8_s8c_args args = {.x = ei_view_rows(x),
                                                     .y = y_rows,
                                                     .vectors = vectors,
                                                     .k = k,
                                                     .n = range.count,
                                                     .y_step = n,
                                                     .weights = range.weights,
                                                     .bias = range.bias,
                                                     .multiplier = range.multiplier,
                                                     .requant = requant,
                                                     .later = ei_later_weights(node)};
        context->kernels->fully_connected_s8_s8c(&args, begin, end);
    } else {
        const ei_fully_connected_s16_s8c_args args = {.x = ei_view_rows(x),
                                                      .y = y_rows,
                                                      .vectors = vectors,
                                                      .k = k,
                                                      .n = range.count,
                                                      .y_step = n,
                                                      .weights = range.weights,
                                                      .bias = range.bias,
                                                      .multiplier = range.multiplier,
                                                      .requant = requant};
        context->kernels->fully_connected_s16_s8c(&args, begin, end);
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    const int four_bits = ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor) != 0;
    return ei_packed_work(node, four_bits ? EI_WORK_OF_A_FOUR_BIT_BYTE : 1, 1);
}

const ei_op ei_op_fully_connected = {.name = "fully_connected",
                                     .check = check,
                                     .input_rows = ei_input_rows_same,
                                     .run = run,
                                     .work = work};
