#include "ops/check.h"
#include "ops/convert.h"
#include "ops/row_runs.h"

// The smallest normal float32. With s >= 1 (see kernels/softmax), s * out_scale and its inverse are
// then finite and above zero.
#define EI_SMALLEST_NORMAL 0x1p-126f

/// Exponentials of 0 and below: from 1 at entry 0 on, never above it, so that a sum is at least 1
/// and nothing is infinite or NaN.
static ei_status check_table(const float *table, uint32_t count) {
    EI_TRY(ei_check_finite_array(table, count, "table"));
    for (uint32_t i = 0; i < count; i++) {
        const int is_one = i % 256 == 0;
        if (table[i] < 0.0f || table[i] > 1.0f || (is_one && table[i] != 1.0f)) {
            return ei_fail(EI_ERROR_OPERATOR, "table: entry %u is %g, must be %s", (unsigned)i,
                           (double)table[i], is_one ? "1" : "from 0 to 1");
        }
    }
    return EI_OK;
}

static ei_status check(const ei_node *node) {
    const ei_softmax_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *table = ei_node_input(node, 1);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_S8_S16));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_QUANTIZE | EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    // Entry 0 stands for the largest element; of int16's two halves each has such an entry.
    const uint32_t entries = x->dtype == EI_INT8 ? 256 : 512;
    EI_TRY(ei_check_constant_elements(table, "table", EI_FLOAT32, entries));
    EI_TRY(check_table(ei_node_constant(node, table), entries));
    if (y->dtype == EI_FLOAT32) {
        return EI_OK;
    }
    EI_TRY(ei_check_finite(p->out_scale, "out_scale"));
    if (p->out_scale < EI_SMALLEST_NORMAL) {
        return ei_fail(EI_ERROR_OPERATOR, "out_scale: is %g, must be a normal number above zero",
                       (double)p->out_scale);
    }
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_softmax_params *p = node->params;
    const ei_view *x_view = ei_input_view(node, 0);
    const ei_view *y_view = ei_output_view(node, 0);
    const ei_rows x = ei_view_rows(x_view);
    const ei_rows y = ei_view_rows(y_view);
    const size_t size = (size_t)x_view->tensor->dims[x_view->tensor->rank - 1];
    const size_t x_bytes = ei_dtype_bytes(x_view->tensor->dtype);
    const ei_softmax_fn kernel = x_view->tensor->dtype == EI_INT8 ? context->kernels->softmax_s8
                                                                  : context->kernels->softmax_s16;
    ei_softmax_args args = {
        .size = size,
        .table = (const float *)ei_input_view(node, 1)->base,
        .y_bytes = ei_dtype_bytes(y_view->tensor->dtype),
        .out_scale = p->out_scale,
        .zero_point = p->out_zero_point,
        .clamp_min = p->clamp_min,
        .clamp_max = p->clamp_max,
    };
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        args.x = ei_row(&x, r);
        args.y = ei_row(&y, r);
        args.vectors = (size_t)(next - r) * (x.row_bytes / (size * x_bytes));
        kernel(&args);
    }
    return EI_OK;
}

const ei_op ei_op_softmax = {
    .name = "softmax",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .in_place = 1,
};
