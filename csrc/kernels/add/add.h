/// Sum of two quantised operands, each at a scale of its own, in integers only. XNNPACK's qs8-vadd.
#ifndef EI_KERNELS_ADD_H
#define EI_KERNELS_ADD_H

#include "kernels/binary.h"

typedef struct ei_add_args {
    int32_t a_multiplier, b_multiplier;
    int64_t bias; // rounding and the operands' zero points
    uint32_t shift;
    int32_t zero_point; // of y; it and the clamps are values of y's dtype
    int32_t clamp_min, clamp_max;
} ei_add_args;

/// y = clamp(((a * a_multiplier + b * b_multiplier + bias) >> shift) + zero_point), where >> rounds
/// towards minus infinity.
///
/// add_s8: int8 operands; 128 * (|a_multiplier| + |b_multiplier|) + |bias| < 2^31, so that int32
/// holds every sum; shift is 0 to 30.
/// add_s16: int16 operands; |bias| <= 2^62, so that int64 holds every sum; shift is 0 to 62.
typedef void (*ei_add_fn)(const ei_binary_run *run, const ei_add_args *args);

void ei_add_s8_scalar(const ei_binary_run *run, const ei_add_args *args);
void ei_add_s16_scalar(const ei_binary_run *run, const ei_add_args *args);

void ei_add_s8_avx2(const ei_binary_run *run, const ei_add_args *args);
void ei_add_s16_avx2(const ei_binary_run *run, const ei_add_args *args);

void ei_add_s16_avx512vnni(const ei_binary_run *run, const ei_add_args *args);

void ei_add_s8_neon(const ei_binary_run *run, const ei_add_args *args);
void ei_add_s16_neon(const ei_binary_run *run, const ei_add_args *args);

#endif
