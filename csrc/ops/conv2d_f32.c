#include <stddef.h>

#include "ops/check.h"
#include "ops/op.h"
#include "ops/packed.h"
#include "ops/window.h"

enum { X, WEIGHTS, BIAS, ZERO };

static ei_window window_of(const ei_conv2d_f32_params *p, const ei_tensor_record *x,
                           const ei_tensor_record *y) {
    return EI_WINDOW_OF(p, x, y);
}

static ei_status check(const ei_node *node) {
    const ei_conv2d_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_float_images(x, y));
    const ei_window window = window_of(p, x, y);
    EI_TRY(ei_check_window_params(&window));
    EI_TRY(ei_check_window_reach(&window, ei_node_input(node, ZERO) != NULL));
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
    EI_TRY(ei_check_packed_f32(node, &packed, 1));
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
    const ei_conv2d_f32_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const void *zero = node->input_count > ZERO ? ei_input_view(node, ZERO)->base : NULL;
    ei_window window = window_of(p, x->tensor, y->tensor);
    const size_t k = (size_t)p->kernel_h * (size_t)p->kernel_w * (size_t)(window.in_c / p->groups);
    const ei_packed_f32_range range = ei_packed_f32_range_of(node, context, k);
    window.out_c = (int32_t)range.count;
    const ei_conv2d_f32_args args = {.x = ei_view_rows(x),
                                     .y = ei_view_rows_at(y, range.y),
                                     .weights = range.weights,
                                     .bias = range.bias,
                                     .zero = zero,
                                     .window = window,
                                     .y_step = (size_t)y->tensor->dims[3],
                                     .groups = p->groups,
                                     .bounds = {p->clamp_min, p->clamp_max}};
    if (range.half) {
        context->kernels->conv2d_f32_f16(&args, begin, end);
    } else {
        context->kernels->conv2d_f32_f32(&args, begin, end);
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    const ei_conv2d_f32_params *p = node->params;
    return ei_packed_f32_work(node, p->groups == 1);
}

const ei_op ei_op_conv2d_f32 = {
    .name = "conv2d_f32", .check = check, .input_rows = input_rows, .run = run, .work = work};
