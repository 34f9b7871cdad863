#include "ops/check.h"
#include "ops/convert.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_dequantize_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_DEQUANTIZE));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_finite(p->scale, "scale"));
    return ei_check_zero_point(p->zero_point, "zero_point", x->dtype);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_dequantize_params *p = node->params;
    const ei_view *x_view = ei_input_view(node, 0);
    const ei_rows x = ei_view_rows(x_view);
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const ei_dequantize_fn kernel = ei_dequantize_kernel(context->kernels, x_view->tensor->dtype);
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        const size_t count = (size_t)(next - r) * (y.row_bytes / sizeof(float));
        kernel(ei_row(&x, r), (float *)ei_row(&y, r), count, p->zero_point, p->scale);
    }
    return EI_OK;
}

const ei_op ei_op_dequantize = {
    .name = "dequantize",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
};
