#include <stddef.h>

#include "ops/check.h"
#include "ops/op.h"
#include "ops/packed.h"
#include "ops/window.h"

enum { X, WEIGHTS, BIAS, MULTIPLIER };

static ei_window window_of(const ei_transpose_conv2d_params *p, const ei_tensor_record *x,
                           const ei_tensor_record *y) {
    return EI_WINDOW_OF(p, x, y);
}

static ei_status check(const ei_node *node) {
    const ei_transpose_conv2d_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_images(x, y));
    const ei_window window = window_of(p, x, y);
    EI_TRY(ei_check_window_params(&window));
    EI_TRY(ei_check_transposed_window_reach(&window));
    EI_TRY(ei_check_int(p->groups, "groups", 1, window.in_c));
    if (window.in_c % p->groups != 0 || window.out_c % p->groups != 0) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "groups: is %d, must divide the %d input and the %d output channels",
                       (int)p->groups, (int)window.in_c, (int)window.out_c);
    }
    const ei_packed_shape packed = {.groups = p->groups,
                                    .channels = window.out_c / p->groups,
                                    .segments = (int64_t)p->kernel_h * p->kernel_w,
                                    .length = window.in_c / p->groups};
    EI_TRY(ei_check_packed(node, &packed));
    EI_TRY(ei_check_zero_point(p->in_zero_point, "in_zero_point", x->dtype));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    (void)i; // x is the only activation
    const ei_window window =
        window_of(node->params, ei_node_input(node, X), ei_node_output(node, 0));
    return ei_transposed_window_input_rows(&window, begin, end);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_transpose_conv2d_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const void *weights = ei_input_view(node, WEIGHTS)->base;
    const void *bias = ei_input_view(node, BIAS)->base;
    const void *multiplier = ei_input_view(node, MULTIPLIER)->base;
    const ei_window window = window_of(p, x->tensor, y->tensor);
    const ei_requant requant = {p->out_zero_point, p->clamp_min, p->clamp_max};
    if (x->tensor->dtype == EI_INT8) {
        const ei_transpose_conv2d_s8_s8c_args args = {.x = ei_view_rows(x),
                                                      .y = ei_view_rows(y),
                                                      .weights = weights,
                                                      .bias = bias,
                                                      .multiplier = multiplier,
                                                      .window = window,
                                                      .groups = p->groups,
                                                      .in_zero_point = p->in_zero_point,
                                                      .requant = requant};
        context->kernels->transpose_conv2d_s8_s8c(&args, begin, end);
    } else {
        const ei_transpose_conv2d_s16_s8c_args args = {.x = ei_view_rows(x),
                                                       .y = ei_view_rows(y),
                                                       .weights = weights,
                                                       .bias = bias,
                                                       .multiplier = multiplier,
                                                       .window = window,
                                                       .groups = p->groups,
                                                       .in_zero_point = p->in_zero_point,
                                                       .requant = requant};
        context->kernels->transpose_conv2d_s16_s8c(&args, begin, end);
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    return ei_packed_work(node, 4, 0);
}

const ei_op ei_op_transpose_conv2d = {
    .name = "transpose_conv2d", .check = check, .input_rows = input_rows, .run = run, .work = work};
