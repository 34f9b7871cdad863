/// Bilinear interpolation in integers: XNNPACK's ibilinear.
#ifndef EI_KERNELS_RESIZE_BILINEAR_H
#define EI_KERNELS_RESIZE_BILINEAR_H

#include <stddef.h>
#include <stdint.h>

typedef struct ei_resize_bilinear_args {
    const void *top, *bottom; // rows of x that y lies between
    void *y;                  // one row, `width` pixels; shares no byte with x
    const int32_t *columns;   // [width][3]: left and right column of x, weight of the right one
    size_t width, channels;   // of y
    int32_t bottom_weight;    // weights are 0 to 1 << fraction_bits
    int32_t fraction_bits;    // f, 1 to 20
    int32_t half_away;        // how halves are rounded
} ei_resize_bilinear_args;

/// With one = 1 << f: t = top[left] * (one - w) + top[right] * w; b alike from bottom;
/// v = t * (one - bottom_weight) + b * bottom_weight; all exact in int64. Then
///     half_away 0: y = (v + (1 << (2f - 1))) >> 2f, rounding down
///     half_away 1: y = v / (1 << 2f), halves away from zero
/// A weighted mean of x's elements, so y is within their range.
typedef void (*ei_resize_bilinear_fn)(const ei_resize_bilinear_args *args);

void ei_resize_bilinear_s8_scalar(const ei_resize_bilinear_args *args);
void ei_resize_bilinear_u8_scalar(const ei_resize_bilinear_args *args);
void ei_resize_bilinear_s16_scalar(const ei_resize_bilinear_args *args);

void ei_resize_bilinear_s8_avx2(const ei_resize_bilinear_args *args);
void ei_resize_bilinear_u8_avx2(const ei_resize_bilinear_args *args);

void ei_resize_bilinear_s8_neon(const ei_resize_bilinear_args *args);
void ei_resize_bilinear_u8_neon(const ei_resize_bilinear_args *args);

#endif
