/// Transposed 2-D convolution of float32. Every output pixel gathers the taps whose strided grid meets
/// the input:
///
///     y[n, oy, ox, o] = bounded(bias[o] + sum over (ky, iy, kx, ix, c), in this order, with
///                                 oy + pad_top  == iy * stride_h + ky * dilation_h, 0 <= iy < in_h,
///                                 ox + pad_left == ix * stride_w + kx * dilation_w, 0 <= ix < in_w
///                               of x[n, iy, ix, group(o) * in_c / groups + c] * w[o, ky, kx, c])
///
/// by fused multiply-adds (kernels/float_tile.h). Taps that meet no input take no part.
#ifndef EI_KERNELS_TRANSPOSE_CONV2D_F32_F32_H
#define EI_KERNELS_TRANSPOSE_CONV2D_F32_F32_H

#include "kernels/float_tile.h"
#include "kernels/rows.h"
#include "kernels/window.h"

typedef struct ei_transpose_conv2d_f32_args {
    ei_rows x; // in_w * in_c floats each
    ei_rows y; // out_w * out_c floats each; shares no byte with x
    const float
        *weights;      // [groups][out_c/groups / 16][kernel_h * kernel_w * in_c/groups][16], finite
    const float *bias; // [groups][out_c/groups rounded up to 16]
    ei_window window;  // strides and dilations are those of the output; in_c and out_c are
                       // multiples of groups
    int32_t groups;
    ei_bounds_f32 bounds;
} ei_transpose_conv2d_f32_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_transpose_conv2d_f32_fn)(const ei_transpose_conv2d_f32_args *args, uint32_t begin,
                                           uint32_t end);

void ei_transpose_conv2d_f32_f32_scalar(const ei_transpose_conv2d_f32_args *args, uint32_t begin,
                                        uint32_t end);
void ei_transpose_conv2d_f32_f32_avx2(const ei_transpose_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end);
void ei_transpose_conv2d_f32_f32_avx512vnni(const ei_transpose_conv2d_f32_args *args,
                                            uint32_t begin, uint32_t end);
void ei_transpose_conv2d_f32_f32_neon(const ei_transpose_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end);

#endif
