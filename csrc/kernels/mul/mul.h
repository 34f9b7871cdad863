/// Product of two quantised operands. XNNPACK's qs8-vmul.
#ifndef EI_KERNELS_MUL_H
#define EI_KERNELS_MUL_H

#include "kernels/binary.h"
#include "kernels/requantize.h"

typedef struct ei_mul_args {
    int32_t a_zero_point, b_zero_point; // values of the operands' dtype
    float multiplier;                   // finite
    ei_requant out;                     // within y's dtype
} ei_mul_args;

/// y = clamp(rne((float)((a - a_zero_point) * (b - b_zero_point)) * multiplier) + out.zero_point).
///
/// mul_s8: int8 operands; |product| <= 255 * 255.
/// mul_s16: int16 operands; |product| < 2^32 needs int64, and rounds once on its way to float32.
typedef void (*ei_mul_fn)(const ei_binary_run *run, const ei_mul_args *args);

void ei_mul_s8_scalar(const ei_binary_run *run, const ei_mul_args *args);
void ei_mul_s16_scalar(const ei_binary_run *run, const ei_mul_args *args);

void ei_mul_s8_avx2(const ei_binary_run *run, const ei_mul_args *args);
void ei_mul_s16_avx2(const ei_binary_run *run, const ei_mul_args *args);

void ei_mul_s8_neon(const ei_binary_run *run, const ei_mul_args *args);

#endif
