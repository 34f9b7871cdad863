/// How a tier's register tiles (packed_gemm_f32.h) multiply vectors.
#ifndef EI_KERNELS_FULLY_CONNECTED_F32_F32_RUNS_H
#define EI_KERNELS_FULLY_CONNECTED_F32_F32_RUNS_H

#include "kernels/fully_connected_f32_f32/fully_connected_f32_f32.h"
#include "kernels/packed_gemm_f32/packed_gemm_f32.h"

/// Computes rows [begin, end) of y; `half`: weights are float16.
void ei_fully_connected_f32_runs(const ei_fully_connected_f32_args *args, int half,
                                 ei_packed_gemm_f32_fn gemm, uint32_t begin, uint32_t end);

#endif
