#include "ops/check.h"
#include "ops/pool2d.h"
#include "ops/window.h"

static ei_window window_of(const ei_max_pool2d_params *p, const ei_tensor_record *x,
                           const ei_tensor_record *y) {
    return EI_WINDOW_OF(p, x, y);
}

static ei_status check(const ei_node *node) {
    const ei_max_pool2d_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_S8_S16 | EI_DTYPE_BIT(EI_UINT8)));
    EI_TRY(ei_check_rank(x, "x", 4, 4));
    EI_TRY(ei_check_rank(y, "y", 4, 4));
    const ei_window window = window_of(p, x, y);
    EI_TRY(ei_pool2d_check(&window, x, y));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_window window =
        window_of(node->params, ei_node_input(node, i), ei_node_output(node, 0));
    return ei_window_input_rows(&window, begin, end);
}

static ei_max_pool2d_fn kernel_for(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->max_pool2d_s8;
    case EI_UINT8: return kernels->max_pool2d_u8;
    default: return kernels->max_pool2d_s16;
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_max_pool2d_params *p = node->params;
    const ei_view *x = ei_input_view(node, 0);
    const ei_view *y = ei_output_view(node, 0);
    const ei_max_pool2d_args args = {
        .x = ei_view_rows(x),
        .y = ei_view_rows(y),
        .window = window_of(p, x->tensor, y->tensor),
        .clamp_min = p->clamp_min,
        .clamp_max = p->clamp_max,
    };
    kernel_for(context->kernels, x->tensor->dtype)(&args, begin, end);
    return EI_OK;
}

const ei_op ei_op_max_pool2d = {
    .name = "max_pool2d",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
