/// The larger or the smaller of two operands, compared as stored.
#ifndef EI_KERNELS_MIN_MAX_H
#define EI_KERNELS_MIN_MAX_H

#include "kernels/binary.h"

/// y = a > b ? a : b (maximum), a < b ? a : b (minimum); all three of one dtype.
typedef void (*ei_min_max_fn)(const ei_binary_run *run);

void ei_maximum_s8_scalar(const ei_binary_run *run);
void ei_maximum_u8_scalar(const ei_binary_run *run);
void ei_maximum_s16_scalar(const ei_binary_run *run);
void ei_maximum_s32_scalar(const ei_binary_run *run);
void ei_minimum_s8_scalar(const ei_binary_run *run);
void ei_minimum_u8_scalar(const ei_binary_run *run);
void ei_minimum_s16_scalar(const ei_binary_run *run);
void ei_minimum_s32_scalar(const ei_binary_run *run);

void ei_maximum_s8_avx2(const ei_binary_run *run);
void ei_maximum_u8_avx2(const ei_binary_run *run);
void ei_maximum_s16_avx2(const ei_binary_run *run);
void ei_maximum_s32_avx2(const ei_binary_run *run);
void ei_minimum_s8_avx2(const ei_binary_run *run);
void ei_minimum_u8_avx2(const ei_binary_run *run);
void ei_minimum_s16_avx2(const ei_binary_run *run);
void ei_minimum_s32_avx2(const ei_binary_run *run);

void ei_maximum_s8_neon(const ei_binary_run *run);
void ei_maximum_u8_neon(const ei_binary_run *run);
void ei_maximum_s16_neon(const ei_binary_run *run);
void ei_maximum_s32_neon(const ei_binary_run *run);
void ei_minimum_s8_neon(const ei_binary_run *run);
void ei_minimum_u8_neon(const ei_binary_run *run);
void ei_minimum_s16_neon(const ei_binary_run *run);
void ei_minimum_s32_neon(const ei_binary_run *run);

#endif
