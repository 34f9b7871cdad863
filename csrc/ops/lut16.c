#include "ops/check.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_lut16_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_INT16)));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_constant_elements(ei_node_input(node, 1), "table", EI_INT16, 513));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const int16_t *table = (const int16_t *)ei_input_view(node, 1)->base;
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        const size_t count = (size_t)(next - r) * (x.row_bytes / 2);
        context->kernels->lut16_s16((const int16_t *)ei_row(&x, r), table, (int16_t *)ei_row(&y, r),
                                    count);
    }
    return EI_OK;
}

const ei_op ei_op_lut16 = {
    .name = "lut16",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .in_place = 1,
};
