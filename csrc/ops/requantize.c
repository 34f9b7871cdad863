#include "ops/check.h"
#include "ops/convert.h"
#include "ops/row_runs.h"

// Elements that are real numbers at a time: 1 KiB of stack.
#define EI_CHUNK 256

static ei_status check(const ei_node *node) {
    const ei_requantize_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_DEQUANTIZE));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_QUANTIZE));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_zero_point(p->in_zero_point, "in_zero_point", x->dtype));
    EI_TRY(ei_check_finite(p->multiplier, "multiplier"));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_requantize_params *p = node->params;
    const ei_view *x_view = ei_input_view(node, 0);
    const ei_view *y_view = ei_output_view(node, 0);
    const ei_rows x = ei_view_rows(x_view);
    const ei_rows y = ei_view_rows(y_view);
    const size_t x_bytes = ei_dtype_bytes(x_view->tensor->dtype);
    const size_t y_bytes = ei_dtype_bytes(y_view->tensor->dtype);
    const ei_dequantize_fn dequantize =
        ei_dequantize_kernel(context->kernels, x_view->tensor->dtype);
    const ei_quantize_fn quantize = ei_quantize_kernel(context->kernels, y_view->tensor->dtype);
    const ei_quantize_args args = {
        .factor = 1.0f,
        .out = {p->out_zero_point, p->clamp_min, p->clamp_max},
    };
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        const uint8_t *from = ei_row(&x, r);
        uint8_t *to = ei_row(&y, r);
        size_t left = (size_t)(next - r) * (x.row_bytes / x_bytes);
        while (left > 0) {
            float real[EI_CHUNK];
            const size_t count = left < EI_CHUNK ? left : EI_CHUNK;
            dequantize(from, real, count, p->in_zero_point, p->multiplier);
            quantize(real, to, count, &args);
            from += count * x_bytes;
            to += count * y_bytes;
            left -= count;
        }
    }
    return EI_OK;
}

const ei_op ei_op_requantize = {
    .name = "requantize",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .in_place = 1,
};
