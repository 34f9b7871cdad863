// The tier's register tiles over panels of the second matrix.
#include "kernels/batch_matmul_f32_f32/batch_matmul_f32_f32_panels.h"

void ei_batch_matmul_f32_f32_avx512vnni(const ei_batch_matmul_f32_args *args) {
    ei_batch_matmul_f32_panels(args, ei_packed_gemm_f32_avx512vnni);
}
