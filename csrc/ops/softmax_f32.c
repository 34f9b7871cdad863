#include "ops/check.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_softmax_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_positive(p->beta, "beta"));
    return ei_check_int(p->logarithm, "logarithm", 0, 1);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_softmax_f32_params *p = node->params;
    const ei_tensor_record *tensor = ei_input_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    ei_softmax_f32_args args = {
        .size = (size_t)tensor->dims[tensor->rank - 1],
        .beta = p->beta,
        .logarithm = p->logarithm,
    };
    const size_t vectors = x.row_bytes / (args.size * sizeof(float)); // of a row
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        args.x = (const float *)ei_row(&x, r);
        args.y = (float *)ei_row(&y, r);
        args.vectors = (size_t)(next - r) * vectors;
        context->kernels->softmax_f32(&args);
    }
    return EI_OK;
}

const ei_op ei_op_softmax_f32 = {
    .name = "softmax_f32",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .in_place = 1,
};
