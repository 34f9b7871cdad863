/// Interpolation between the pixels of an image, by tables of taps and weights.
#ifndef EI_KERNELS_RESIZE_F32_H
#define EI_KERNELS_RESIZE_F32_H

#include "kernels/rows.h"

typedef struct ei_resize_f32_args {
    ei_rows x;
    uint32_t first_row; // of the image that y's row belongs to
    float *y;           // a row: width * channels; shares no byte with x
    size_t width, channels;
    size_t row_taps, column_taps; // 1 and up
    const int32_t *rows;          // row_taps: rows of the image
    const float *row_weights;     // as many
    const int32_t *columns;       // width * column_taps
    const float *column_weights;  // as many
} ei_resize_f32_args;

/// For each pixel and channel: h[i] = the sum over column taps, row i's x * weight, from the first
/// product on by fma(x, weight, h); y = the sum over row taps of h * weight in the same way. A NaN is
/// 0x7fc00000.
typedef void (*ei_resize_f32_fn)(const ei_resize_f32_args *args);

void ei_resize_f32_scalar(const ei_resize_f32_args *args);
void ei_resize_f32_avx2(const ei_resize_f32_args *args);

#endif
