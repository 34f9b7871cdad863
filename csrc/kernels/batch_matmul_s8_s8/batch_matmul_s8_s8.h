/// Product of two int8 matrices, neither constant:
///
///     y[i, j] = requantize((float)(sum over l < k of (a[i, l] - a_zero_point) * (b(l, j) - b_zero_point))
///                          * multiplier)
///
/// Sums are taken modulo 2^32; exact while 255^2 * k < 2^31, that is for k <= 33025.
#ifndef EI_KERNELS_BATCH_MATMUL_S8_S8_H
#define EI_KERNELS_BATCH_MATMUL_S8_S8_H

#include <stdint.h>

#include "kernels/requantize.h"

/// All three matrices are dense and row-major.
typedef struct ei_batch_matmul_s8_s8_args {
    const int8_t *a;  // [m, k]
    const int8_t *b;  // [k, n], or [n, k] when transpose_b
    int8_t *y;        // [m, n]; shares no byte with a and b
    uint32_t m, k, n; // at least 1
    int transpose_b;
    int32_t a_zero_point; // within int8
    int32_t b_zero_point; // within int8
    float multiplier;     // finite
    ei_requant requant;   // within int8
} ei_batch_matmul_s8_s8_args;

typedef void (*ei_batch_matmul_s8_s8_fn)(const ei_batch_matmul_s8_s8_args *args);

void ei_batch_matmul_s8_s8_scalar(const ei_batch_matmul_s8_s8_args *args);

void ei_batch_matmul_s8_s8_avx2(const ei_batch_matmul_s8_s8_args *args);

void ei_batch_matmul_s8_s8_avx512vnni(const ei_batch_matmul_s8_s8_args *args);

void ei_batch_matmul_s8_s8_neon(const ei_batch_matmul_s8_s8_args *args);

void ei_batch_matmul_s8_s8_dotprod(const ei_batch_matmul_s8_s8_args *args);

void ei_batch_matmul_s8_s8_i8mm(const ei_batch_matmul_s8_s8_args *args);

#endif
