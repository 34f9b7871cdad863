/// Sums, products and extremes of float32 over axes.
#ifndef EI_KERNELS_REDUCE_F32_H
#define EI_KERNELS_REDUCE_F32_H

#include <stddef.h>
#include <stdint.h>

/// What is computed: the operator's `kind` (a part of the file format).
enum {
    EI_F32_SUM = 0,
    EI_F32_MEAN = 1,        // the sum / n
    EI_F32_SUM_SQUARES = 2, // s = fma(x, x, s)
    EI_F32_L2 = 3,          // its square root
    EI_F32_L1 = 4,          // of magnitudes
    EI_F32_PRODUCT = 5,
    EI_F32_LARGEST = 6, // s > x ? s : x, a NaN where there is one
    EI_F32_SMALLEST = 7,
    EI_F32_LOG_SUM = 8,
    EI_F32_LOG_SUM_EXP =
        9, // m + log(the sum of exp(x - m)), m the largest one, or 0 if that is infinite
    EI_REDUCE_F32_KINDS = 10,
};

typedef struct ei_reduce_f32_args {
    const float *x;
    float *y;     // shares no byte with x
    size_t count; // results, 1 and up: y[i] is made of x[i * step ...]
    size_t step;
    size_t terms[3];   // n elements of a result in three nested loops, the first outermost
    size_t strides[3]; // in elements
    int32_t kind;
    float clamp_min, clamp_max; // min <= max; may be infinite
} ei_reduce_f32_args;

/// In 16 interleaved parts: part i is made of the elements whose number is i modulo 16, in ascending
/// order, from 0 (1, an infinity). Parts i and i + 8 are combined, then i and i + 4, + 2, + 1. The
/// result is clamped; a NaN is 0x7fc00000.
typedef void (*ei_reduce_f32_fn)(const ei_reduce_f32_args *args);

void ei_reduce_f32_scalar(const ei_reduce_f32_args *args);
void ei_reduce_f32_avx2(const ei_reduce_f32_args *args);

#endif
