#include "kernels/mul/mul_blocks.h"

EI_MUL_BLOCKS(mul_s8, int8_t, int32_t)
EI_MUL_BLOCKS(mul_s16, int16_t, double) // exact: below 2^32

void ei_mul_s8_scalar(const ei_binary_run *run, const ei_mul_args *args) {
    ei_binary_in_blocks(run, sizeof(int8_t), mul_s8, args);
}

void ei_mul_s16_scalar(const ei_binary_run *run, const ei_mul_args *args) {
    ei_binary_in_blocks(run, sizeof(int16_t), mul_s16, args);
}
