/// 2-D convolution, int16 activations, int8 weights per output channel: the formula and the layouts
/// of conv2d_s8_s8c.h, sums in 64 bits.
///
/// Sums are taken modulo 2^64; exact while |bias| + 2^22 * K < 2^63, which every K of a file keeps.
#ifndef EI_KERNELS_CONV2D_S16_S8C_H
#define EI_KERNELS_CONV2D_S16_S8C_H

#include "kernels/requantize.h"
#include "kernels/rows.h"
#include "kernels/window.h"

/// To compute a range of the output channels of one group: out_c counts those of the range, y.base,
/// weights, bias and multiplier point to its first tile of 16, y_step stays.
typedef struct ei_conv2d_s16_s8c_args {
    ei_rows x;               // in_w * in_c int16 each
    ei_rows y;               // out_w * y_step int16 each; shares no byte with x
    const int8_t *weights;   // packed as for conv2d_s8_s8c
    const int64_t *bias;     // [groups][out_c/groups rounded up to 16], zero point folded in
    const float *multiplier; // as bias, finite
    const int16_t *zero;     // in_w * in_c copies of the zero point; NULL when no tap leaves
    ei_window window;        // in_c and out_c are multiples of groups
    size_t y_step;           // values from one output pixel to the next: out_c or more
    int32_t groups;
    ei_requant requant; // within int16
} ei_conv2d_s16_s8c_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_conv2d_s16_s8c_fn)(const ei_conv2d_s16_s8c_args *args, uint32_t begin,
                                     uint32_t end);

void ei_conv2d_s16_s8c_scalar(const ei_conv2d_s16_s8c_args *args, uint32_t begin, uint32_t end);

#endif
