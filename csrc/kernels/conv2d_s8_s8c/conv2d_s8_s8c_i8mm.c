#include "kernels/conv2d_s8_s8c/conv2d_s8_s8c_patches.h"

void ei_conv2d_s8_s8c_i8mm(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end) {
    ei_conv2d_s8_s8c_patches(&ei_packed_gemm_i8mm, args, begin, end);
}
