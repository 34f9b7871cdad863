/// Checks of operators whose output pixels see a window of the input: what conv2d, depthwise_conv2d
/// and transpose_conv2d have in common.
#ifndef EI_OPS_WINDOW_H
#define EI_OPS_WINDOW_H

#include "kernels/window.h"
#include "ops/op.h"

/// Limits of the file format, far beyond any model, so that a band's work is bounded and coordinates
/// are far from overflow. Work is at most output elements times packed weights of a channel; the
/// packed weights of convolutions are bytes of the file, so a short file cannot ask for much.
#define EI_MAX_KERNEL 4096  // taps per axis
#define EI_MAX_STRIDE 65535 // also of dilations, pads, and of rows beyond the far edge

/// An ei_window: of the parameters of an operator that slides one from images x to images y. Each has a
/// struct of its own for them, with fields of these names.
#define EI_WINDOW_OF(p, x, y)                                                                      \
    ((ei_window){.in_h = (x)->dims[1],                                                             \
                 .in_w = (x)->dims[2],                                                             \
                 .in_c = (x)->dims[3],                                                             \
                 .out_h = (y)->dims[1],                                                            \
                 .out_w = (y)->dims[2],                                                            \
                 .out_c = (y)->dims[3],                                                            \
                 .kernel_h = (p)->kernel_h,                                                        \
                 .kernel_w = (p)->kernel_w,                                                        \
                 .stride_h = (p)->stride_h,                                                        \
                 .stride_w = (p)->stride_w,                                                        \
                 .dilation_h = (p)->dilation_h,                                                    \
                 .dilation_w = (p)->dilation_w,                                                    \
                 .pad_top = (p)->pad_top,                                                          \
                 .pad_left = (p)->pad_left})

/// x and y: activations of rank 4 with the same dtype (int8 or int16) and number of images.
ei_status ei_check_images(const ei_tensor_record *x, const ei_tensor_record *y);

/// The same of float32.
ei_status ei_check_float_images(const ei_tensor_record *x, const ei_tensor_record *y);

/// Kernel, strides, dilations and pads within the limits above. The window may hold any int32_t.
ei_status ei_check_window_params(const ei_window *window);

/// The windows of a convolution start at most EI_MAX_STRIDE beyond the far edges of the image; with
/// `zero` absent none of their taps leaves the image. Call after ei_check_window_params.
ei_status ei_check_window_reach(const ei_window *window, int has_zero);

/// The output of a transposed convolution ends at most EI_MAX_STRIDE beyond the last tap of the last
/// input. Call after ei_check_window_params.
ei_status ei_check_transposed_window_reach(const ei_window *window);

/// Rows of x that a convolution's output rows [begin, end), begin < end, read inside the image; empty
/// when all of their taps are outside. For one image:
///     first = max(0, begin * stride_h - pad_top)
///     last  = min(in_h, (end - 1) * stride_h - pad_top + (kernel_h - 1) * dilation_h + 1)
/// A band across images reads from its first image's first row to its last image's last.
ei_row_range ei_window_input_rows(const ei_window *window, uint32_t begin, uint32_t end);

/// The same of a transposed convolution. For one image:
///     first = max(0, ceil((begin + pad_top - (kernel_h - 1) * dilation_h) / stride_h))
///     last  = min(in_h, floor((end - 1 + pad_top) / stride_h) + 1)
ei_row_range ei_transposed_window_input_rows(const ei_window *window, uint32_t begin, uint32_t end);

#endif
