#include "ops/check.h"
#include "ops/op.h"
#include "ops/packed.h"
#include "ops/row_runs.h"

enum { X, WEIGHTS, BIAS, MULTIPLIER };

static ei_status check(const ei_node *node) {
    const ei_fully_connected_dynamic_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    const ei_tensor_record *weights = ei_node_input(node, WEIGHTS);
    EI_TRY(ei_check_activation(x, "x"));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_rank(y, "y", x->rank, x->rank));
    const uint32_t last = x->rank - 1u;
    for (uint32_t axis = 0; axis < last; axis++) {
        EI_TRY(ei_check_dim(y, "y", axis, x->dims[axis]));
    }
    EI_TRY(ei_check_constant(weights, "weights"));
    const ei_packed_shape packed = {
        .groups = 1, .channels = y->dims[last], .segments = 1, .length = x->dims[last]};
    EI_TRY(ei_weights_scheme(weights) == EI_S8C ? ei_check_packed_s8c_f32(node, &packed)
                                                : ei_check_packed_f4(node, &packed));
    return ei_check_bounds(p->clamp_min, p->clamp_max);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_fully_connected_dynamic_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const uint32_t rank = x->tensor->rank;
    const uint32_t k = (uint32_t)x->tensor->dims[rank - 1];
    const ei_packed_range range = ei_packed_f4_range_of(node, context, k, sizeof(float));
    const ei_fully_connected_f32_f4_args args = {
        .x = ei_view_rows(x),
        .y = ei_view_rows_at(y, range.y),
        // Rows are vectors up to rank 3, and matrices above.
        .vectors = rank < 4 ? 1 : (uint32_t)x->tensor->dims[rank - 2],
        .k = k,
        .n = range.count,
        .y_step = (uint32_t)y->tensor->dims[rank - 1],
        .weights = range.weights,
        .bias = range.bias,
        .multiplier = range.multiplier,
        .scheme = ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor),
        .bounds = {p->clamp_min, p->clamp_max}};
    const ei_kernels *kernels = context->kernels;
    kernels->fully_connected_f32_f4(
        &args, args.scheme == EI_S8C ? kernels->packed_gemm_s8_s8c : kernels->packed_gemm_s8_f4,
        begin, end);
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    const int int8 = ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor) == EI_S8C;
    return ei_packed_work(node, int8 ? 1 : EI_WORK_OF_A_FOUR_BIT_BYTE, 1);
}

const ei_op ei_op_fully_connected_dynamic = {.name = "fully_connected_dynamic",
                                             .check = check,
                                             .input_rows = ei_input_rows_same,
                                             .run = run,
                                             .work = work};
