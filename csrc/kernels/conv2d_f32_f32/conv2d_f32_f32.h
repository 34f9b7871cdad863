/// 2-D convolution of float32, with weights of float32 or float16:
///
///     y[n, oy, ox, o] = bounded(bias[o] + sum over (ky, kx, c), in this order, of
///                               x[n, oy * stride_h - pad_top + ky * dilation_h,
///                                    ox * stride_w - pad_left + kx * dilation_w,
///                                    group(o) * in_c / groups + c] * w[o, ky, kx, c])
///
/// by fused multiply-adds (kernels/float_tile.h). A tap outside the image multiplies +0.
#ifndef EI_KERNELS_CONV2D_F32_F32_H
#define EI_KERNELS_CONV2D_F32_F32_H

#include "kernels/float_tile.h"
#include "kernels/rows.h"
#include "kernels/window.h"

/// To compute a range of the output channels of one group: out_c counts those of the range, y.base,
/// weights and bias point to its first tile of 16, y_step stays.
typedef struct ei_conv2d_f32_args {
    ei_rows x; // in_w * in_c floats each
    ei_rows y; // out_w * y_step floats each; shares no byte with x
    const void
        *weights;      // [groups][out_c/groups / 16][kernel_h * kernel_w * in_c/groups][16], finite
    const float *bias; // [groups][out_c/groups rounded up to 16]
    const float *zero; // in_w * in_c times +0: the row above and below, and the pixel beside the
                       // image. May be NULL when no tap leaves the image
    ei_window window;  // in_c and out_c are multiples of groups
    size_t y_step;     // values from one output pixel to the next: out_c or more
    int32_t groups;
    ei_bounds_f32 bounds;
} ei_conv2d_f32_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_conv2d_f32_fn)(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);

void ei_conv2d_f32_f32_scalar(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_f32_f16_scalar(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_f32_f32_avx2(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_f32_f32_avx512vnni(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_f32_f32_neon(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_f32_f16_avx2(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_f32_f16_avx512vnni(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_f32_f16_neon(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end);

#endif
