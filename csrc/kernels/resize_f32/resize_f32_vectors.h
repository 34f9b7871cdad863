/// The arithmetic of resize_f32.h, for every tier (kernels/vector_f32.h).
#ifndef EI_KERNELS_RESIZE_F32_VECTORS_H
#define EI_KERNELS_RESIZE_F32_VECTORS_H

#include "kernels/resize_f32/resize_f32.h"
#include "kernels/vector_f32.h"

/// Channels from c on, EI_LANES at most, of a pixel.
EI_ALWAYS_INLINE ei_f32v ei_interpolate(const ei_resize_f32_args *args, const int32_t *columns,
                                        const float *weights, size_t c) {
    const size_t left = args->channels - c;
    ei_f32v y = ei_splat(0.0f);
    for (size_t i = 0; i < args->row_taps; i++) {
        const float *row =
            (const float *)ei_row(&args->x, args->first_row + (uint32_t)args->rows[i]) + c;
        ei_f32v h = ei_load_or(row + (size_t)columns[0] * args->channels, left, 0.0f) * weights[0];
        for (size_t j = 1; j < args->column_taps; j++) {
            const ei_f32v x = ei_load_or(row + (size_t)columns[j] * args->channels, left, 0.0f);
            h = ei_fma(x, ei_splat(weights[j]), h);
        }
        const ei_f32v weight = ei_splat(args->row_weights[i]);
        y = i == 0 ? h * weight : ei_fma(h, weight, y);
    }
    return ei_canonical(y);
}

/// Defines `name`, the kernel of a tier.
#define EI_RESIZE_F32(name)                                                                        \
    void name(const ei_resize_f32_args *args) {                                                    \
        float *y = args->y;                                                                        \
        for (size_t x = 0; x < args->width; x++, y += args->channels) {                            \
            const int32_t *columns = args->columns + x * args->column_taps;                        \
            const float *weights = args->column_weights + x * args->column_taps;                   \
            for (size_t c = 0; c < args->channels; c += EI_LANES) {                                \
                ei_store_part(y + c, args->channels - c,                                           \
                              ei_interpolate(args, columns, weights, c));                          \
            }                                                                                      \
        }                                                                                          \
    }

#endif
