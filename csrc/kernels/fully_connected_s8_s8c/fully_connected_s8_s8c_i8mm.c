#include "kernels/fully_connected_s8_s8c/fully_connected_s8_s8c_patches.h"

void ei_fully_connected_s8_s8c_i8mm(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                    uint32_t end) {
    ei_fully_connected_s8_s8c_patches(&ei_packed_gemm_i8mm, args, begin, end);
}
