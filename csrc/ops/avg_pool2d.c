#include "ops/check.h"
#include "ops/pool2d.h"
#include "ops/window.h"

// What the int32 sums of avg_pool2d_s8 hold.
#define EI_MAX_TAPS_S8 (1 << 22)

static ei_window window_of(const ei_avg_pool2d_params *p, const ei_tensor_record *x,
                           const ei_tensor_record *y) {
    return (ei_window){.in_h = x->dims[1],
                       .in_w = x->dims[2],
                       .in_c = x->dims[3],
                       .out_h = y->dims[1],
                       .out_w = y->dims[2],
                       .out_c = y->dims[3],
                       .kernel_h = p->kernel_h,
                       .kernel_w = p->kernel_w,
                       .stride_h = p->stride_h,
                       .stride_w = p->stride_w,
                       .dilation_h = 1,
                       .dilation_w = 1,
                       .pad_top = p->pad_top,
                       .pad_left = p->pad_left};
}

static int64_t smaller(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static ei_status check(const ei_node *node) {
    const ei_avg_pool2d_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_S8_S16));
    EI_TRY(ei_check_rank(x, "x", 4, 4));
    EI_TRY(ei_check_rank(y, "y", 4, 4));
    const ei_window window = window_of(p, x, y);
    EI_TRY(ei_pool2d_check(&window, x, y));
    if (x->dtype == EI_INT8) {
        EI_TRY(ei_check_int(smaller(p->kernel_h, window.in_h) * smaller(p->kernel_w, window.in_w),
                            "taps in a window", 1, EI_MAX_TAPS_S8));
    }
    EI_TRY(ei_check_int(p->count_include_pad, "count_include_pad", 0, 1));
    EI_TRY(ei_check_int(p->integer_mean, "integer_mean", 0, 1));
    EI_TRY(ei_check_zero_point(p->in_zero_point, "in_zero_point", x->dtype));
    EI_TRY(ei_check_finite(p->multiplier, "multiplier"));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_window window =
        window_of(node->params, ei_node_input(node, i), ei_node_output(node, 0));
    return ei_window_input_rows(&window, begin, end);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_avg_pool2d_params *p = node->params;
    const ei_view *x = ei_input_view(node, 0);
    const ei_view *y = ei_output_view(node, 0);
    const ei_avg_pool2d_args args = {
        .x = ei_view_rows(x),
        .y = ei_view_rows(y),
        .window = window_of(p, x->tensor, y->tensor),
        .all_taps = p->count_include_pad,
        .integer_mean = p->integer_mean,
        .in_zero_point = p->in_zero_point,
        .multiplier = p->multiplier,
        .requant = {p->out_zero_point, p->clamp_min, p->clamp_max},
    };
    if (x->tensor->dtype == EI_INT8) {
        context->kernels->avg_pool2d_s8(&args, begin, end);
    } else {
        context->kernels->avg_pool2d_s16(&args, begin, end);
    }
    return EI_OK;
}

const ei_op ei_op_avg_pool2d = {
    .name = "avg_pool2d",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
