#include <stddef.h>

#include "ops/check.h"
#include "ops/op.h"
#include "ops/packed.h"
#include "ops/window.h"

enum { X, WEIGHTS, BIAS, ZERO };

static ei_window window_of(const ei_depthwise_conv2d_f32_params *p, const ei_tensor_record *x,
                           const ei_tensor_record *y) {
    return EI_WINDOW_OF(p, x, y);
}

static ei_status check(const ei_node *node) {
    const ei_depthwise_conv2d_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_float_images(x, y));
    const ei_window window = window_of(p, x, y);
    EI_TRY(ei_check_window_params(&window));
    EI_TRY(ei_check_window_reach(&window, ei_node_input(node, ZERO) != NULL));
    EI_TRY(ei_check_int(p->multiplier, "multiplier", 1, window.out_c));
    EI_TRY(ei_check_dim(y, "y", 3, (int64_t)window.in_c * p->multiplier));
    const ei_packed_shape packed = {.groups = 1,
                                    .channels = window.out_c,
                                    .segments = 1,
                                    .length = (int64_t)p->kernel_h * p->kernel_w};
    EI_TRY(ei_check_packed_f32(node, &packed, 0));
    EI_TRY(ei_check_float_zero_row(node, ZERO, (uint64_t)window.in_w * (uint64_t)window.in_c));
    return ei_check_bounds(p->clamp_min, p->clamp_max);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    (void)i; // x is the only activation
    const ei_window window =
        window_of(node->params, ei_node_input(node, X), ei_node_output(node, 0));
    return ei_window_input_rows(&window, begin, end);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_depthwise_conv2d_f32_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const void *zero = node->input_count > ZERO ? ei_input_view(node, ZERO)->base : NULL;
    const ei_depthwise_conv2d_f32_args args = {
        .x = ei_view_rows(x),
        .y = ei_view_rows(y),
        .weights = (const void *)ei_input_view(node, WEIGHTS)->base,
        .bias = (const void *)ei_input_view(node, BIAS)->base,
        .zero = zero,
        .window = window_of(p, x->tensor, y->tensor),
        .multiplicity = p->multiplier,
        .bounds = {p->clamp_min, p->clamp_max}};
    context->kernels->depthwise_conv2d_f32_f32(&args, begin, end);
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    return ei_packed_f32_work(node, 0);
}

const ei_op ei_op_depthwise_conv2d_f32 = {.name = "depthwise_conv2d_f32",
                                          .check = check,
                                          .input_rows = input_rows,
                                          .run = run,
                                          .work = work};
