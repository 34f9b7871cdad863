#include "kernels/plain.h"
#include "ops/check.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_cast_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_ANY));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_ANY & ~EI_DTYPE_BIT(x->dtype)));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const uint32_t x_dtype = ei_input_view(node, 0)->tensor->dtype;
    const uint32_t y_dtype = ei_output_view(node, 0)->tensor->dtype;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        const size_t count = (size_t)(next - r) * (x.row_bytes / ei_dtype_bytes(x_dtype));
        ei_cast_elements(ei_row(&x, r), x_dtype, ei_row(&y, r), y_dtype, count);
    }
    return EI_OK;
}

const ei_op ei_op_cast = {
    .name = "cast",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
};
