/// Between integers and real numbers. Integers to other integers (the operator requantize) is both,
/// one after the other: dequantising with the ratio of the scales and quantising with factor 1 are
/// the same float32 operations as in its formula.
#ifndef EI_KERNELS_CONVERT_H
#define EI_KERNELS_CONVERT_H

#include <stddef.h>

#include "kernels/requantize.h"

typedef struct ei_quantize_args {
    float factor; // finite, above zero
    int divide;   // 1: x / factor instead of x * factor
    ei_requant out;
} ei_quantize_args;

/// y = clamp(rne(x * factor) + out.zero_point), or x / factor; a NaN becomes clamp(out.zero_point).
/// Infinities saturate.
typedef void (*ei_quantize_fn)(const float *x, void *y, size_t count, const ei_quantize_args *args);

/// y = (float)(x - zero_point) * scale. The difference is exact (int64 for int32 x) and rounds once
/// on its way to float32. zero_point is a value of x's dtype, scale finite.
typedef void (*ei_dequantize_fn)(const void *x, float *y, size_t count, int32_t zero_point,
                                 float scale);

void ei_quantize_s8_scalar(const float *x, void *y, size_t count, const ei_quantize_args *args);
void ei_quantize_u8_scalar(const float *x, void *y, size_t count, const ei_quantize_args *args);
void ei_quantize_s16_scalar(const float *x, void *y, size_t count, const ei_quantize_args *args);

void ei_dequantize_s8_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                             float scale);
void ei_dequantize_u8_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                             float scale);
void ei_dequantize_s16_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                              float scale);
void ei_dequantize_s32_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                              float scale);

void ei_quantize_s8_avx2(const float *x, void *y, size_t count, const ei_quantize_args *args);
void ei_quantize_u8_avx2(const float *x, void *y, size_t count, const ei_quantize_args *args);
void ei_quantize_s16_avx2(const float *x, void *y, size_t count, const ei_quantize_args *args);
void ei_dequantize_s8_avx2(const void *x, float *y, size_t count, int32_t zero_point, float scale);
void ei_dequantize_u8_avx2(const void *x, float *y, size_t count, int32_t zero_point, float scale);
void ei_dequantize_s16_avx2(const void *x, float *y, size_t count, int32_t zero_point, float scale);
void ei_dequantize_s32_avx2(const void *x, float *y, size_t count, int32_t zero_point, float scale);

#endif
