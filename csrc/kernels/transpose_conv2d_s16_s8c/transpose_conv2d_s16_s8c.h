/// Transposed 2-D convolution, int16 activations, int8 weights per output channel: the formula and the
/// layouts of transpose_conv2d_s8_s8c.h, sums in 64 bits.
///
/// Sums are taken modulo 2^64; exact while |bias| + 2^23 * K < 2^63, which every K of a file keeps.
#ifndef EI_KERNELS_TRANSPOSE_CONV2D_S16_S8C_H
#define EI_KERNELS_TRANSPOSE_CONV2D_S16_S8C_H

#include "kernels/requantize.h"
#include "kernels/rows.h"
#include "kernels/window.h"

typedef struct ei_transpose_conv2d_s16_s8c_args {
    ei_rows x;               // in_w * in_c int16 each
    ei_rows y;               // out_w * out_c int16 each; shares no byte with x
    const int8_t *weights;   // packed as for transpose_conv2d_s8_s8c
    const int64_t *bias;     // [groups][out_c/groups rounded up to 16]
    const float *multiplier; // as bias, finite
    ei_window window;        // in_c and out_c are multiples of groups
    int32_t groups;
    int32_t in_zero_point; // within int16
    ei_requant requant;    // within int16
} ei_transpose_conv2d_s16_s8c_args;

/// Computes rows [begin, end) of y. The rows of x that they read are in its ring.
typedef void (*ei_transpose_conv2d_s16_s8c_fn)(const ei_transpose_conv2d_s16_s8c_args *args,
                                               uint32_t begin, uint32_t end);

void ei_transpose_conv2d_s16_s8c_scalar(const ei_transpose_conv2d_s16_s8c_args *args,
                                        uint32_t begin, uint32_t end);

#endif
