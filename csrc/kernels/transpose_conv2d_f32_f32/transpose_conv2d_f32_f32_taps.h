/// How a tier's register tiles (packed_gemm_f32.h) compute a transposed convolution: tap by tap.
#ifndef EI_KERNELS_TRANSPOSE_CONV2D_F32_F32_TAPS_H
#define EI_KERNELS_TRANSPOSE_CONV2D_F32_F32_TAPS_H

#include "kernels/packed_gemm_f32/packed_gemm_f32.h"
#include "kernels/transpose_conv2d_f32_f32/transpose_conv2d_f32_f32.h"

void ei_transpose_conv2d_f32_taps(const ei_transpose_conv2d_f32_args *args,
                                  ei_packed_gemm_f32_fn gemm, uint32_t begin, uint32_t end);

#endif
