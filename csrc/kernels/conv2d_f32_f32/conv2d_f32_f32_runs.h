/// How a tier's register tiles (packed_gemm_f32.h) compute a convolution: runs of pixels of a row.
#ifndef EI_KERNELS_CONV2D_F32_F32_RUNS_H
#define EI_KERNELS_CONV2D_F32_F32_RUNS_H

#include "kernels/conv2d_f32_f32/conv2d_f32_f32.h"
#include "kernels/packed_gemm_f32/packed_gemm_f32.h"

/// What a tier brings.
typedef struct ei_conv2d_f32_tier {
    ei_packed_gemm_f32_fn gemm;
    int pairs_rows; // it heeds row_step
} ei_conv2d_f32_tier;

/// Computes rows [begin, end) of y; `half`: weights are float16.
void ei_conv2d_f32_runs(const ei_conv2d_f32_args *args, int half, ei_conv2d_f32_tier tier,
                        uint32_t begin, uint32_t end);

#endif
