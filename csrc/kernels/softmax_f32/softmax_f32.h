/// Softmax of float32 vectors, and its logarithm.
#ifndef EI_KERNELS_SOFTMAX_F32_H
#define EI_KERNELS_SOFTMAX_F32_H

#include <stddef.h>
#include <stdint.h>

typedef struct ei_softmax_f32_args {
    const float *x; // vectors * size
    float *y;       // as many; may be the very bytes of x
    size_t vectors, size;
    float beta;        // finite, above zero
    int32_t logarithm; // 1: of the second kind
} ei_softmax_f32_args;

/// For each vector, with m its largest element, t = (x - m) * beta, e = exp(t) of kernels/math_f32.h
/// and s = the sum of e in 16 interleaved parts (kernels/vector_f32.h):
///     y = e * (1 / s)          or          y = t - log(s)
/// each operation rounded once, the logarithm of s to float32. A NaN anywhere makes all of the
/// vector NaN (0x7fc00000), and so does plus infinity, or nothing but minus infinity.
typedef void (*ei_softmax_f32_fn)(const ei_softmax_f32_args *args);

void ei_softmax_f32_scalar(const ei_softmax_f32_args *args);
void ei_softmax_f32_avx2(const ei_softmax_f32_args *args);
void ei_softmax_f32_avx512vnni(const ei_softmax_f32_args *args);

#endif
