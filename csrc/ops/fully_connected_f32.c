#include <stddef.h>

#include "ops/check.h"
#include "ops/op.h"
#include "ops/packed.h"
#include "ops/row_runs.h"

enum { X, WEIGHTS, BIAS };

static ei_status check(const ei_node *node) {
    const ei_fully_connected_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_activation(x, "x"));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_rank(y, "y", x->rank, x->rank));
    const uint32_t last = x->rank - 1u;
    for (uint32_t axis = 0; axis < last; axis++) {
        EI_TRY(ei_check_dim(y, "y", axis, x->dims[axis]));
    }
    const ei_packed_shape packed = {
        .groups = 1, .channels = y->dims[last], .segments = 1, .length = x->dims[last]};
    EI_TRY(ei_check_packed_f32(node, &packed, 1));
    return ei_check_bounds(p->clamp_min, p->clamp_max);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_fully_connected_f32_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const uint32_t k = (uint32_t)x->tensor->dims[x->tensor->rank - 1];
    const uint32_t n = (uint32_t)y->tensor->dims[y->tensor->rank - 1];
    // Rows are vectors up to rank 3, and matrices above.
    const uint32_t vectors =
        x->tensor->rank < 4 ? 1 : (uint32_t)x->tensor->dims[x->tensor->rank - 2];
    const ei_packed_f32_range range = ei_packed_f32_range_of(node, context, k);
    const ei_fully_connected_f32_args args = {.x = ei_view_rows(x),
                                              .y = ei_view_rows_at(y, range.y),
                                              .vectors = vectors,
                                              .k = k,
                                              .n = range.count,
                                              .y_step = n,
                                              .weights = range.weights,
                                              .bias = range.bias,
                                              .bounds = {p->clamp_min, p->clamp_max}};
    if (range.half) {
        context->kernels->fully_connected_f32_f16(&args, begin, end);
    } else {
        context->kernels->fully_connected_f32_f32(&args, begin, end);
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    return ei_packed_f32_work(node, 1);
}

const ei_op ei_op_fully_connected_f32 = {.name = "fully_connected_f32",
                                         .check = check,
                                         .input_rows = ei_input_rows_same,
                                         .run = run,
                                         .work = work};
