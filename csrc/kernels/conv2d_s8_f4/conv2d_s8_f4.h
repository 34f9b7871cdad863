/// 2-D convolution, int8 activations, weights of four bits in blocks along K:
///
///     y[n, oy, ox, o] = requantize(multiplier[o] * (bias[o] + sum over K of w[o] * x of the window))
///
/// K = (ky, kx, c of the group), one run of kernel_h * kernel_w * in_c / groups values. The sum is that of
/// kernels/packed_gemm_s8_f4, which begins at the bias; a sum that is no number gives clamp_min.
#ifndef EI_KERNELS_CONV2D_S8_F4_H
#define EI_KERNELS_CONV2D_S8_F4_H

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
#include "kernels/requantize.h"
#include "kernels/rows.h"
#include "kernels/window.h"

/// To compute a range of the output channels of one group: out_c counts those of the range, y.base,
/// weights, bias and multiplier point to its first tile of 16, y_step stays.
typedef struct ei_conv2d_s8_f4_args {
    ei_rows x;               // in_w * in_c int8 each
    ei_rows y;               // out_w * y_step int8 each; shares no byte with x
    const uint8_t *weights;  // [groups][out_c/groups / 16] tiles of packed_gemm_s8_f4.h
    const float *bias;       // [groups][out_c/groups rounded up to 16], zero point folded in
    const float *multiplier; // as bias, finite
    const int8_t
        *zero; // in_w * in_c copies of the zero point; may be NULL when no tap leaves the image
    ei_window window; // in_c and out_c are multiples of groups
    size_t y_step;    // values from one output pixel to the next: out_c or more
    int32_t groups;
    ei_f4_scheme scheme;
    ei_requant requant; // within int8
} ei_conv2d_s8_f4_args;

/// Computes rows [begin, end) of y by a tier's product. The rows of x that they read are in its ring.
void ei_conv2d_s8_f4(const ei_conv2d_s8_f4_args *args, ei_packed_gemm_s8_f4_fn gemm, uint32_t begin,
                     uint32_t end);

#endif
