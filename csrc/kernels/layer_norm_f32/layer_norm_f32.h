/// Normalisation of float32 vectors by their own mean and variance.
#ifndef EI_KERNELS_LAYER_NORM_F32_H
#define EI_KERNELS_LAYER_NORM_F32_H

#include <stddef.h>
#include <stdint.h>

typedef struct ei_layer_norm_f32_args {
    const float *x; // vectors * size
    float *y;       // as many; may be the very bytes of x
    size_t vectors, size;
    const float *scale, *bias; // `size` each, or NULL
    float epsilon;
    int32_t centred; // 0: the mean is taken to be 0 (RMS)
} ei_layer_norm_f32_args;

/// For each vector, sums being made of 16 interleaved parts (kernels/vector_f32.h):
///     mean = sum of x / size (0 unless centred)      d = x - mean
///     r = 1 / sqrt(sum of fma(d, d, s) / size + epsilon)
///     y = d * r, times scale, plus bias: fma(d * r, scale, bias) with both
/// each operation rounded once. A NaN is 0x7fc00000.
typedef void (*ei_layer_norm_f32_fn)(const ei_layer_norm_f32_args *args);

void ei_layer_norm_f32_scalar(const ei_layer_norm_f32_args *args);
void ei_layer_norm_f32_avx2(const ei_layer_norm_f32_args *args);
void ei_layer_norm_f32_avx512vnni(const ei_layer_norm_f32_args *args);

#endif
