/// Transposed 2-D convolution, int8 activations, int8 weights per output channel. Every output pixel
/// gathers the taps whose strided grid meets the input:
///
///     y[n, oy, ox, o] = requantize(bias[o] + sum over (ky, iy, kx, ix, c) with
///                                    oy + pad_top  == iy * stride_h + ky * dilation_h, 0 <= iy < in_h,
///                                    ox + pad_left == ix * stride_w + kx * dilation_w, 0 <= ix < in_w
///                                  of w[o, ky, kx, c] * (x[n, iy, ix, group(o) * in_c / groups + c]
///                                                        - in_zero_point))
///
/// The zero point is no part of the bias, since how many taps meet the input differs by pixel. Sums
/// are taken modulo 2^32; exact while |bias| + 128 * 255 * K < 2^31.
#ifndef EI_KERNELS_TRANSPOSE_CONV2D_S8_S8C_H
#define EI_KERNELS_TRANSPOSE_CONV2D_S8_S8C_H

#include "kernels/requantize.h"
#include "kernels/rows.h"
#include "kernels/window.h"

typedef struct ei_transpose_conv2d_s8_s8c_args {
    ei_rows x;               // in_w * in_c int8 each
    ei_rows y;               // out_w * out_c int8 each; shares no byte with x
    const int8_t *weights;   // [groups][out_c/groups / 16][K/4][16][4], K being kernel_h * kernel_w
                             // segments of in_c / groups
    const int32_t *bias;     // [groups][out_c/groups rounded up to 16]
    const float *multiplier; // as bias, finite
    ei_window window;        // strides and dilations are those of the output; in_c and out_c are
                             // multiples of groups
    int32_t groups;
    int32_t in_zero_point; // within int8
    ei_requant requant;    // within int8
} ei_transpose_conv2d_s8_s8c_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_transpose_conv2d_s8_s8c_fn)(const ei_transpose_conv2d_s8_s8c_args *args,
                                              uint32_t begin, uint32_t end);

void ei_transpose_conv2d_s8_s8c_scalar(const ei_transpose_conv2d_s8_s8c_args *args, uint32_t begin,
                                       uint32_t end);

#endif
