#include "ops/check.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_lut8_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_INT8) | EI_DTYPE_BIT(EI_UINT8)));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_constant_elements(ei_node_input(node, 1), "table", y->dtype, 256));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

static ei_lut8_fn kernel_for(const ei_kernels *kernels, uint32_t bytes) {
    switch (bytes) {
    case 1: return kernels->lut8_b1;
    case 2: return kernels->lut8_b2;
    case 4: return kernels->lut8_b4;
    default: return kernels->lut8_b8;
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const void *table = ei_input_view(node, 1)->base;
    const ei_lut8_fn kernel = kernel_for(context->kernels, y.row_bytes / x.row_bytes);
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&x, &y, r, end);
        kernel(ei_row(&x, r), table, ei_row(&y, r), (size_t)(next - r) * x.row_bytes);
    }
    return EI_OK;
}

const ei_op ei_op_lut8 = {
    .name = "lut8",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .in_place = 1,
};
