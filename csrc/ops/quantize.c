#include "ops/check.h"
#include "ops/convert.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_quantize_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_QUANTIZE));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_positive(p->factor, "factor"));
    EI_TRY(ei_check_int(p->divide, "divide", 0, 1));
    EI_TRY(ei_check_zero_point(p->zero_point, "zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_quantize_params *p = node->params;
    const ei_view *y_view = ei_output_view(node, 0);
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(y_view);
    const ei_quantize_fn kernel = ei_quantize_kernel(context->kernels, y_view->tensor->dtype);
    const ei_quantize_args args = {
        .factor = p->factor,
        .divide = p->divide,
        .out = {p->zero_point, p->clamp_min, p->clamp_max},
    };
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        const size_t count = (size_t)(next - r) * (x.row_bytes / sizeof(float));
        kernel((const float *)ei_row(&x, r), ei_row(&y, r), count, &args);
    }
    return EI_OK;
}

const ei_op ei_op_quantize = {
    .name = "quantize",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
};
