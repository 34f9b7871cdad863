#include "ops/pool2d.h"

#include <inttypes.h>

#include "ops/check.h"
#include "ops/window.h"

// kernel_h * kernel_w stays far below 2^63, and no dimension is larger.
#define EI_MAX_POOL_KERNEL EI_MAX_TENSOR_BYTES

/// Along one axis, every window has a tap inside. Windows that start before the image are the reason
/// for the second and the third rule: none of them may stop short of it or step over it.
static ei_status check_axis(const char *axis, int64_t out, int64_t stride, int64_t pad,
                            int64_t kernel, int64_t dilation, int64_t in) {
    const int64_t last_start = (out - 1) * stride - pad;
    if (last_start >= in) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "y: %s %" PRId64 ": the last window starts at %" PRId64
                       ", must start inside an input of %" PRId64,
                       axis, out, last_start, in);
    }
    const int64_t first_end = (kernel - 1) * dilation - pad;
    if (first_end < 0) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "y: %s %" PRId64 ": the last tap of the first window is at %" PRId64
                       ", must be inside the input",
                       axis, out, first_end);
    }
    if (pad > 0 && dilation > in) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "dilation along %s: is %" PRId64
                       ", must not exceed a padded input, %" PRId64,
                       axis, dilation, in);
    }
    return EI_OK;
}

ei_status ei_pool2d_check(const ei_window *window, const ei_tensor_record *x,
                          const ei_tensor_record *y) {
    const ei_window *w = window;
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_dim(y, "y", 0, x->dims[0]));
    EI_TRY(ei_check_dim(y, "y", 3, x->dims[3]));
    // A window may be as large as the image: there are no weights to be bounded by.
    EI_TRY(ei_check_int(w->kernel_h, "kernel_h", 1, EI_MAX_POOL_KERNEL));
    EI_TRY(ei_check_int(w->kernel_w, "kernel_w", 1, EI_MAX_POOL_KERNEL));
    EI_TRY(ei_check_int(w->stride_h, "stride_h", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(w->stride_w, "stride_w", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(w->dilation_h, "dilation_h", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(w->dilation_w, "dilation_w", 1, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(w->pad_top, "pad_top", 0, EI_MAX_STRIDE));
    EI_TRY(ei_check_int(w->pad_left, "pad_left", 0, EI_MAX_STRIDE));
    EI_TRY(check_axis("height", w->out_h, w->stride_h, w->pad_top, w->kernel_h, w->dilation_h,
                      w->in_h));
    return check_axis("width", w->out_w, w->stride_w, w->pad_left, w->kernel_w, w->dilation_w,
                      w->in_w);
}
