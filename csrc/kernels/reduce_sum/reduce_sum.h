/// Sums over some axes of an array, rescaled. XNNPACK's reductions: the zero points are added in
/// float32, before the one rounding.
#ifndef EI_KERNELS_REDUCE_SUM_H
#define EI_KERNELS_REDUCE_SUM_H

#include <stddef.h>

#include "kernels/requantize.h"

typedef struct ei_reduce_sum_args {
    const void *x; // where the first element of y begins to sum
    void *y;       // `count` elements of x's dtype, side by side; shares no byte with x
    size_t count;
    size_t
        step; // elements of x from where an element of y begins to sum to where the next one does
    // The elements that each sum takes: terms[0] * terms[1] * terms[2] of them, strides[i] elements
    // apart along axis i.
    size_t terms[3];
    size_t strides[3];
    float multiplier, offset; // finite
    ei_requant out;           // zero_point 0: the offset has it
} ei_reduce_sum_args;

/// y = clamp(rne((float)(sum of x) * multiplier + offset)): a product, then a sum, in float32.
///
/// reduce_sum_s8, _u8: at most 2^23 terms, so that int32 holds every sum.
/// reduce_sum_s16: sums in int64.
typedef void (*ei_reduce_sum_fn)(const ei_reduce_sum_args *args);

/// From a sum, rounded to float32 once, to y.
static inline int32_t ei_rescale_sum(float sum, float multiplier, float offset,
                                     const ei_requant *out) {
    const float product = sum * multiplier;
    return ei_requantize(product + offset, out);
}

void ei_reduce_sum_s8_scalar(const ei_reduce_sum_args *args);
void ei_reduce_sum_u8_scalar(const ei_reduce_sum_args *args);
void ei_reduce_sum_s16_scalar(const ei_reduce_sum_args *args);

void ei_reduce_sum_s8_avx2(const ei_reduce_sum_args *args);
void ei_reduce_sum_u8_avx2(const ei_reduce_sum_args *args);

void ei_reduce_sum_s8_neon(const ei_reduce_sum_args *args);
void ei_reduce_sum_u8_neon(const ei_reduce_sum_args *args);

#endif
