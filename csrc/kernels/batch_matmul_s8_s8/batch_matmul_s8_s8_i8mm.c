#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8_patches.h"

void ei_batch_matmul_s8_s8_i8mm(const ei_batch_matmul_s8_s8_args *args) {
    ei_batch_matmul_s8_s8_patches(&ei_packed_gemm_i8mm, args);
}
