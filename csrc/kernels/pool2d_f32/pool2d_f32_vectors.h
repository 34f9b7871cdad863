/// The pooling of pool2d_f32.h, for every tier (kernels/vector_f32.h).
#ifndef EI_KERNELS_POOL2D_F32_VECTORS_H
#define EI_KERNELS_POOL2D_F32_VECTORS_H

#include "kernels/pool2d/pool2d_seen.h"
#include "kernels/pool2d_f32/pool2d_f32.h"
#include "kernels/vector_f32.h"

/// One pixel of y.
EI_ALWAYS_INLINE void ei_pool_pixel(const ei_pool2d_f32_args *args, const ei_seen *seen, float *y,
                                    int mean) {
    const int64_t inside = (int64_t)seen->lines * (int64_t)seen->columns;
    const int64_t all = (int64_t)args->window.kernel_h * args->window.kernel_w;
    const float count = (float)(args->all_taps ? all : inside);
    const size_t channels = (size_t)args->window.in_c;
    for (size_t c = 0; c < channels; c += EI_LANES) {
        ei_f32v s = ei_splat(mean ? 0.0f : -__builtin_inff());
        uint32_t line = seen->line;
        for (uint32_t k = 0; k < seen->lines; k++) {
            const uint8_t *row = args->x.base + (size_t)line * args->x.row_bytes + seen->column;
            for (size_t m = 0; m < seen->columns; m++) {
                const float *pixel = (const float *)(row + m * seen->column_step);
                const ei_f32v x = ei_load_or(pixel + c, channels - c, 0.0f);
                s = mean ? s + x : ei_maximum(s, x);
            }
            line = ei_seen_next_line(seen, &args->x, line);
        }
        s = mean ? s / ei_splat(count) : s;
        ei_store_part(y + c, channels - c, ei_clamped(s, args->clamp_min, args->clamp_max));
    }
}

/// Defines `name`, the kernel of a tier.
#define EI_POOL2D_F32(name)                                                                        \
    void name(const ei_pool2d_f32_args *args, uint32_t begin, uint32_t end) {                      \
        const size_t pixel_bytes = (size_t)args->window.in_c * sizeof(float);                      \
        for (uint32_t r = begin; r < end; r++) {                                                   \
            ei_seen seen = ei_seen_lines(&args->window, &args->x, r, pixel_bytes);                 \
            float *y = (float *)ei_row(&args->y, r);                                               \
            for (int32_t ox = 0; ox < args->window.out_w; ox++, y += args->window.in_c) {          \
                ei_seen_columns(&seen, &args->window, ox, pixel_bytes);                            \
                if (args->kind == EI_F32_AVG_POOL) {                                               \
                    ei_pool_pixel(args, &seen, y, 1);                                              \
                } else {                                                                           \
                    ei_pool_pixel(args, &seen, y, 0);                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

#endif
