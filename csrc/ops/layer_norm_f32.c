#include "ops/check.h"
#include "ops/row_runs.h"

enum { X, SCALE, BIAS };

static ei_status check_affine(const ei_tensor_record *tensor, const char *what, int32_t size) {
    if (tensor == NULL) {
        return EI_OK;
    }
    EI_TRY(ei_check_dtype(tensor, what, EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_rank(tensor, what, 1, 1));
    EI_TRY(ei_check_dim(tensor, what, 0, size));
    return ei_check_whole(tensor, what);
}

static ei_status check(const ei_node *node) {
    const ei_layer_norm_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    const int32_t size = x->dims[x->rank - 1];
    EI_TRY(check_affine(ei_node_input(node, SCALE), "scale", size));
    EI_TRY(check_affine(ei_node_input(node, BIAS), "bias", size));
    EI_TRY(ei_check_int(p->centred, "centred", 0, 1));
    return ei_check_finite(p->epsilon, "epsilon");
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    return i == X ? (ei_row_range){begin, end} : ei_input_rows_all(node, i);
}

static const float *affine(const ei_bound_node *node, uint32_t i) {
    return i < node->input_count ? (const float *)ei_input_view(node, i)->base : NULL;
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_layer_norm_f32_params *p = node->params;
    const ei_tensor_record *tensor = ei_input_view(node, X)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, X));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    ei_layer_norm_f32_args args = {
        .size = (size_t)tensor->dims[tensor->rank - 1],
        .scale = affine(node, SCALE),
        .bias = affine(node, BIAS),
        .epsilon = p->epsilon,
        .centred = p->centred,
    };
    const size_t vectors = x.row_bytes / (args.size * sizeof(float)); // of a row
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        args.x = (const float *)ei_row(&x, r);
        args.y = (float *)ei_row(&y, r);
        args.vectors = (size_t)(next - r) * vectors;
        context->kernels->layer_norm_f32(&args);
    }
    return EI_OK;
}

const ei_op ei_op_layer_norm_f32 = {
    .name = "layer_norm_f32",
    .check = check,
    .input_rows = input_rows,
    .run = run,
    .in_place = 1,
};
