#include "ops/window.h"

#include <inttypes.h>

#include "ops/check.h"

static ei_status check_images(const ei_tensor_record *x, const ei_tensor_record *y,
                              uint32_t dtypes) {
    EI_TRY(ei_check_activation(x, "x"));
    EI_TRY(ei_check_rank(x, "x", 4, 4));
    EI_TRY(ei_check_dtype(x, "x", dtypes));
    EI_TRY(ei_check_rank(y, "y", 4, 4));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    return ei_check_dim(y, "y", 0, x->dims[0]);
}

ei_status ei_check_images(const ei_tensor_record *x, const ei_tensor_record *y) {
    return check_images(x, y, EI_DTYPES_S8_S16);
}

ei_status ei_check_float_images(const ei_tensor_record *x, const ei_tensor_record *y) {
    return check_images(x, y, EI_DTYPE_BIT(EI_FLOAT32));
}

ei_status ei_check_window_params(const ei_window *window) {
    EI_TRY(ei_check_int(window->kernel_h, "kernel_h", 1, EI_MAX_KERNEL));
    EI_TRY(ei_check_int(window->kernel_w, "kernel_w", 1, EI_MAX_KERNEL));
    EI_TRY(ei_check_int(window->stride_h, "stride_h", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(window->stride_w, "stride_w", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(window->dilation_h, "dilation_h", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(window->dilation_w, "dilation_w", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(window->pad_top, "pad_top", 0, EI_MAX_STRIDE));
    return ei_check_int(window->pad_left, "pad_left", 0, EI_MAX_STRIDE);
}

static ei_status check_axis_reach(const char *axis, int64_t in, int64_t out, int64_t kernel,
                                  int64_t stride, int64_t dilation, int64_t pad, int has_zero) {
    const int64_t last_start = (out - 1) * stride - pad;
    if (last_start > in - 1 + EI_MAX_STRIDE) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "y: %s %" PRId64 ": the last window starts at %" PRId64
                       " of an input of %" PRId64 ", further beyond it than %d",
                       axis, out, last_start, in, EI_MAX_STRIDE);
    }
    const int64_t last_tap = last_start + (kernel - 1) * dilation;
    if (!has_zero && (pad > 0 || last_tap > in - 1)) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "zero: is absent, but windows reach from %" PRId64 " to %" PRId64
                       " of an input of %s %" PRId64,
                       -pad, last_tap, axis, in);
    }
    return EI_OK;
}

ei_status ei_check_window_reach(const ei_window *window, int has_zero) {
    EI_TRY(check_axis_reach("height", window->in_h, window->out_h, window->kernel_h,
                            window->stride_h, window->dilation_h, window->pad_top, has_zero));
    return check_axis_reach("width", window->in_w, window->out_w, window->kernel_w,
                            window->stride_w, window->dilation_w, window->pad_left, has_zero);
}

static ei_status check_transposed_axis_reach(const char *axis, int64_t in, int64_t out,
                                             int64_t kernel, int64_t stride, int64_t dilation,
                                             int64_t pad) {
    const int64_t full = (in - 1) * stride + (kernel - 1) * dilation + 1;
    if (out + pad > full + EI_MAX_STRIDE) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "y: %s %" PRId64 ": an input of %" PRId64 " reaches %" PRId64
                       ", the output ends further beyond it than %d",
                       axis, out, in, full - pad, EI_MAX_STRIDE);
    }
    return EI_OK;
}

ei_status ei_check_transposed_window_reach(const ei_window *window) {
    EI_TRY(check_transposed_axis_reach("height", window->in_h, window->out_h, window->kernel_h,
                                       window->stride_h, window->dilation_h, window->pad_top));
    return check_transposed_axis_reach("width", window->in_w, window->out_w, window->kernel_w,
                                       window->stride_w, window->dilation_w, window->pad_left);
}

static int64_t clamp_to(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : (value > high ? high : value);
}

/// Batch rows from the first line of the first image and the line after the last of the last image.
static ei_row_range range_of(const ei_window *window, uint32_t first_image, int64_t first,
                             uint32_t last_image, int64_t last) {
    const uint32_t height = (uint32_t)window->in_h;
    const uint32_t begin = first_image * height + (uint32_t)clamp_to(first, 0, height);
    const uint32_t end = last_image * height + (uint32_t)clamp_to(last, 0, height);
    return (ei_row_range){begin, end < begin ? begin : end};
}

ei_row_range ei_window_input_rows(const ei_window *window, uint32_t begin, uint32_t end) {
    const uint32_t height = (uint32_t)window->out_h;
    const int64_t first = (int64_t)(begin % height) * window->stride_h - window->pad_top;
    const int64_t last = (int64_t)((end - 1) % height) * window->stride_h - window->pad_top +
                         (int64_t)(window->kernel_h - 1) * window->dilation_h + 1;
    return range_of(window, begin / height, first, (end - 1) / height, last);
}

ei_row_range ei_transposed_window_input_rows(const ei_window *window, uint32_t begin,
                                             uint32_t end) {
    const uint32_t height = (uint32_t)window->out_h;
    const int64_t stride = window->stride_h;
    const int64_t reach = (int64_t)(begin % height) + window->pad_top -
                          (int64_t)(window->kernel_h - 1) * window->dilation_h;
    const int64_t first = reach <= 0 ? 0 : (reach + stride - 1) / stride;
    const int64_t last = ((int64_t)((end - 1) % height) + window->pad_top) / stride + 1;
    return range_of(window, begin / height, first, (end - 1) / height, last);
}
