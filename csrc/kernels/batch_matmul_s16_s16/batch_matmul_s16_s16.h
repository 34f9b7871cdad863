/// Product of two int16 matrices, neither constant: the formula of batch_matmul_s8_s8.h, sums in 64
/// bits.
///
/// Sums are taken modulo 2^64; exact while 65535^2 * k < 2^63, that is for every k of a file.
#ifndef EI_KERNELS_BATCH_MATMUL_S16_S16_H
#define EI_KERNELS_BATCH_MATMUL_S16_S16_H

#include <stdint.h>

#include "kernels/requantize.h"

/// All three matrices are dense and row-major.
typedef struct ei_batch_matmul_s16_s16_args {
    const int16_t *a; // [m, k]
    const int16_t *b; // [k, n], or [n, k] when transpose_b
    int16_t *y;       // [m, n]; shares no byte with a and b
    uint32_t m, k, n; // at least 1
    int transpose_b;
    int32_t a_zero_point; // within int16
    int32_t b_zero_point; // within int16
    float multiplier;     // finite
    ei_requant requant;   // within int16
} ei_batch_matmul_s16_s16_args;

typedef void (*ei_batch_matmul_s16_s16_fn)(const ei_batch_matmul_s16_s16_args *args);

void ei_batch_matmul_s16_s16_scalar(const ei_batch_matmul_s16_s16_args *args);

#endif
