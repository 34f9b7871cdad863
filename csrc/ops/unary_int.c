#include "kernels/plain.h"
#include "ops/check.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_unary_int_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_INTEGER));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    return ei_check_int(p->kind, "kind", 0, EI_UNARY_INT_KINDS - 1);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_unary_int_params *p = node->params;
    const uint32_t dtype = ei_output_view(node, 0)->tensor->dtype;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    for (uint32_t r = begin; r < end; r++) {
        const uint8_t *from = ei_row(&x, r);
        uint8_t *to = ei_row(&y, r);
        for (size_t i = 0; i < x.row_bytes / ei_dtype_bytes(dtype); i++) {
            int64_t value = ei_unary_int(p->kind, ei_load_integer(from, i, dtype));
            if (dtype == EI_BOOL) {
                value &= 1; // not 0 is 1, not 1 is 0
            }
            ei_store_integer(to, i, dtype, value);
        }
    }
    return EI_OK;
}

const ei_op ei_op_unary_int = {
    .name = "unary_int",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .in_place = 1,
};
