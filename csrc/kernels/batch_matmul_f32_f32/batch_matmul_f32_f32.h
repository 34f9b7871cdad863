/// Product of two matrices of float32:
///
///     y[i, j] = bounded(sum over l = 0 .. k - 1 of a[i, l] * b[l, j])
///
/// from +0 by fused multiply-adds, fma(a, b, sum), in this order (kernels/float_tile.h).
#ifndef EI_KERNELS_BATCH_MATMUL_F32_F32_H
#define EI_KERNELS_BATCH_MATMUL_F32_F32_H

#include "kernels/float_tile.h"

/// Dense matrices, one row behind another; y shares no byte with a or b.
typedef struct ei_batch_matmul_f32_args {
    const float *a;   // [m, k]
    const float *b;   // [k, n], or [n, k] when transpose_b
    float *y;         // [m, n]
    uint32_t m, k, n; // all at least 1
    int32_t transpose_b;
    ei_bounds_f32 bounds;
} ei_batch_matmul_f32_args;

typedef void (*ei_batch_matmul_f32_fn)(const ei_batch_matmul_f32_args *args);

void ei_batch_matmul_f32_f32_scalar(const ei_batch_matmul_f32_args *args);
void ei_batch_matmul_f32_f32_avx2(const ei_batch_matmul_f32_args *args);
void ei_batch_matmul_f32_f32_avx512vnni(const ei_batch_matmul_f32_args *args);
void ei_batch_matmul_f32_f32_neon(const ei_batch_matmul_f32_args *args);

#endif
