/// 2-D convolution, int8 activations, int8 weights per output channel.
///
///     y[n, oy, ox, o] = requantize(bias[o] + sum over (ky, kx, c) of
///                                  w[o, ky, kx, c] * x[n, oy * stride_h - pad_top + ky * dilation_h,
///                                                      ox * stride_w - pad_left + kx * dilation_w,
///                                                      group(o) * in_c / groups + c])
///
/// Sums are taken modulo 2^32; exact while |bias| + 2^14 * K < 2^31.
#ifndef EI_KERNELS_CONV2D_S8_S8C_H
#define EI_KERNELS_CONV2D_S8_S8C_H

#include "kernels/packed_tile.h"
#include "kernels/requantize.h"
#include "kernels/rows.h"
#include "kernels/window.h"

/// To compute a range of the output channels of one group: out_c counts those of the range, y.base,
/// weights, bias and multiplier point to its first tile of 16, y_step stays.
typedef struct ei_conv2d_s8_s8c_args {
    ei_rows x;               // in_w * in_c int8 each
    ei_rows y;               // out_w * y_step int8 each; shares no byte with x
    const int8_t *weights;   // [groups][out_c/groups / 16][K/4][16][4]; segments of kernel_w * in_c
                             // when groups == 1 and dilation_w == 1, else of in_c / groups
    const int32_t *bias;     // [groups][out_c/groups rounded up to 16], zero point folded in
    const float *multiplier; // as bias, finite
    const int8_t *zero;      // in_w * in_c copies of the zero point: the row above and below, and
                             // the pixel beside the image. May be NULL when no tap leaves the image
    ei_window window;        // in_c and out_c are multiples of groups
    size_t y_step;           // values from one output pixel to the next: out_c or more
    int32_t groups;
    ei_requant requant; // within int8
    ei_weights_hint later;
} ei_conv2d_s8_s8c_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_conv2d_s8_s8c_fn)(const ei_conv2d_s8_s8c_args *args, uint32_t begin,
                                    uint32_t end);

void ei_conv2d_s8_s8c_scalar(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_s8_s8c_avx2(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_s8_s8c_avxvnni(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_s8_s8c_avx512vnni(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_s8_s8c_neon(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_s8_s8c_dotprod(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end);
void ei_conv2d_s8_s8c_i8mm(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end);

#endif
