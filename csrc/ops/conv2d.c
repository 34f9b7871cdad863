#include <stddef.h>

#include "kernels/conv2d_s8_f4/conv2d_s8_f4.h"
#include "ops/check.h"
#include "ops/op.h"
#include "ops/packed.h"
#include "ops/window.h"

enum { X, WEIGHTS, BIAS, MULTIPLIER, ZERO };

static ei_window window_of(const ei_conv2d_params *p, const ei_tensor_record *x,
                           const ei_tensor_record *y) {
    return EI_WINDOW_OF(p, x, y);
}

static ei_packed_shape packed_shape_of(const ei_conv2d_params *p, const ei_window *window) {
    ei_packed_shape packed = {.groups = p->groups, .channels = window->out_c / p->groups};
    if (p->groups == 1 && p->dilation_w == 1) { // neighbouring taps lie side by side in memory
        packed.segments = p->kernel_h;
        packed.length = (int64_t)p->kernel_w * window->in_c;
    } else {
        packed.segments = (int64_t)p->kernel_h * p->kernel_w;
        packed.length = window->in_c / p->groups;
    }
    return packed;
}

/// Windows of weights of four bits are one run of values.
static ei_packed_shape f4_shape_of(const ei_conv2d_params *p, const ei_window *window) {
    return (ei_packed_shape){.groups = p->groups,
                             .channels = window->out_c / p->groups,
                             .segments = 1,
                             .length =
                                 (int64_t)p->kernel_h * p->kernel_w * (window->in_c / p->groups)};
}

static ei_status check(const ei_node *node) {
    const ei_conv2d_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_images(x, y));
    const ei_window window = window_of(p, x, y);
    EI_TRY(ei_check_window_params(&window));
    EI_TRY(ei_check_window_reach(&window, ei_node_input(node, ZERO) != NULL));
    EI_TRY(ei_check_int(p->groups, "groups", 1, window.in_c));
    if (window.in_c % p->groups != 0 || window.out_c % p->groups != 0) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "groups: is %d, must divide the %d input and the %d output channels",
                       (int)p->groups, (int)window.in_c, (int)window.out_c);
    }
    if (ei_weights_scheme(ei_node_input(node, WEIGHTS)) != 0) {
        const ei_packed_shape packed = f4_shape_of(p, &window);
        EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_INT8)));
        EI_TRY(ei_check_packed_f4(node, &packed));
    } else {
        const ei_packed_shape packed = packed_shape_of(p, &window);
        EI_TRY(ei_check_packed(node, &packed));
    }
    EI_TRY(ei_check_zero_row(node, ZERO, x->dtype, (uint64_t)window.in_w * (uint64_t)window.in_c));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    (void)i; // x is the only activation
    const ei_window window =
        window_of(node->params, ei_node_input(node, X), ei_node_output(node, 0));
    return ei_window_input_rows(&window, begin, end);
}

static void run_f4(const ei_bound_node *node, const ei_run_context *context, ei_window window,
                   const int8_t *zero, uint32_t begin, uint32_t end) {
    const ei_conv2d_params *p = node->params;
    const ei_view *y = ei_output_view(node, 0);
    const size_t k = (size_t)f4_shape_of(p, &window).length;
    const ei_packed_range range = ei_packed_f4_range_of(node, context, k, sizeof(int8_t));
    window.out_c = (int32_t)range.count;
    const ei_conv2d_s8_f4_args args = {.x = ei_view_rows(ei_input_view(node, X)),
                                       .y = ei_view_rows_at(y, range.y),
                                       .weights = range.weights,
                                       .bias = range.bias,
                                       .multiplier = range.multiplier,
                                       .zero = zero,
                                       .window = window,
                                       .y_step = (size_t)y->tensor->dims[3],
                                       .groups = p->groups,
                                       .scheme =
                                           ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor),
                                       .requant = {p->out_zero_point, p->clamp_min, p->clamp_max}};
    ei_conv2d_s8_f4(&args, context->kernels->packed_gemm_s8_f4, begin, end);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_conv2d_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *y = ei_output_view(node, 0);
    const void *zero = node->input_count > ZERO ? ei_input_view(node, ZERO)->base : NULL;
    ei_window window = window_of(p, x->tensor, y->tensor);
    if (ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor) != 0) {
        run_f4(node, context, window, zero, begin, end);
        return EI_OK;
    }
    const ei_packed_shape packed = packed_shape_of(p, &window);
    const size_t k = (size_t)packed.segments * (((size_t)packed.length + 3) & ~(size_t)3);
    const ei_packed_range range = ei_packed_range_of(node, context, k);
    ei_rows y_rows = ei_view_rows(y);
    y_rows.base = range.y;
    window.out_c = (int32_t)range.count;
    const ei_requant requant = {p->out_zero_point, p->clamp_min, p->clamp_max};
    if (x->tensor->dtype == EI_INT8) {
        const ei_conv2d_s8_s8c_args args = {.x = ei_view_rows(x),
                                            .y = y_rows,
                                            .weights = range.weights,
                                            .bias = range.bias,
                                            .multiplier = range.multiplier,
                                            .zero = zero,
                                            .window = window,
                                            .y_step = (size_t)y->tensor->dims[3],
                                            .groups = p->groups,
                                            .requant = requant,
                                            .later = ei_later_weights(node)};
        context->kernels->conv2d_s8_s8c(&args, begin, end);
    } else {
        const ei_conv2d_s16_s8c_args args = {.x = ei_view_rows(x),
                                             .y = y_rows,
                                             .weights = range.weights,
                                             .bias = range.bias,
                                             .multiplier = range.multiplier,
                                             .zero = zero,
                                             .window = window,
                                             .y_step = (size_t)y->tensor->dims[3],
                                             .groups = p->groups,
                                             .requant = requant};
        context->kernels->conv2d_s16_s8c(&args, begin, end);
    }
    return EI_OK;
}

static ei_work work(const ei_bound_node *node) {
    const ei_conv2d_params *p = node->params;
    const int four_bits = ei_weights_scheme(ei_input_view(node, WEIGHTS)->tensor) != 0;
    const uint64_t factor = four_bits ? EI_WORK_OF_A_FOUR_BIT_BYTE : 1;
    return ei_packed_work(node, p->groups == 1 ? factor : 4 * factor, p->groups == 1);
}

const ei_op ei_op_conv2d = {
    .name = "conv2d", .check = check, .input_rows = input_rows, .run = run, .work = work};
