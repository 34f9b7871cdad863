/// How a tier's register tiles (packed_gemm_f32.h) multiply two matrices.
#ifndef EI_KERNELS_BATCH_MATMUL_F32_F32_PANELS_H
#define EI_KERNELS_BATCH_MATMUL_F32_F32_PANELS_H

#include "kernels/batch_matmul_f32_f32/batch_matmul_f32_f32.h"
#include "kernels/packed_gemm_f32/packed_gemm_f32.h"

void ei_batch_matmul_f32_panels(const ei_batch_matmul_f32_args *args, ei_packed_gemm_f32_fn gemm);

#endif
