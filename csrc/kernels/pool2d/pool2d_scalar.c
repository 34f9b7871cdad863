#include "kernels/pool2d/pool2d_seen.h"

// Channels that are worked on at once: their sums stay in registers or L1, and the walk over the
// taps is paid once for all of them.
#define EI_CHANNELS 64

/// Defines `name`, which computes one pixel of y.
#define EI_AVG_PIXEL(name, type, sum_type)                                                         \
    static void name(const ei_avg_pool2d_args *args, const ei_seen *seen, type *y) {               \
        const ei_mean mean = ei_mean_over(args, seen);                                             \
        const size_t channels = (size_t)args->window.in_c;                                         \
        for (size_t c = 0; c < channels; c += EI_CHANNELS) {                                       \
            const size_t block = channels - c < EI_CHANNELS ? channels - c : EI_CHANNELS;          \
            sum_type sums[EI_CHANNELS];                                                            \
            for (size_t i = 0; i < block; i++) {                                                   \
                sums[i] = 0;                                                                       \
            }                                                                                      \
            uint32_t line = seen->line;                                                            \
            for (uint32_t k = 0; k < seen->lines; k++) {                                           \
                const uint8_t *row = args->x.base + (size_t)line * args->x.row_bytes;              \
                for (size_t m = 0; m < seen->columns; m++) {                                       \
                    const uint8_t *pixel = row + seen->column + m * seen->column_step;             \
                    const type *x = (const type *)pixel + c;                                       \
                    for (size_t i = 0; i < block; i++) {                                           \
                        sums[i] += x[i];                                                           \
                    }                                                                              \
                }                                                                                  \
                line = ei_seen_next_line(seen, &args->x, line);                                    \
            }                                                                                      \
            for (size_t i = 0; i < block; i++) {                                                   \
                y[c + i] = (type)ei_mean_of(sums[i], &mean, args->integer_mean, &args->requant);   \
            }                                                                                      \
        }                                                                                          \
    }

EI_AVG_PIXEL(avg_pixel_s8, int8_t, int32_t)
EI_AVG_PIXEL(avg_pixel_s16, int16_t, int64_t)

/// Defines `name`, which computes one pixel of y.
#define EI_MAX_PIXEL(name, type)                                                                   \
    static void name(const ei_max_pool2d_args *args, const ei_seen *seen, type *y) {               \
        const type low = (type)args->clamp_min;                                                    \
        const type high = (type)args->clamp_max;                                                   \
        const size_t channels = (size_t)args->window.in_c;                                         \
        for (size_t c = 0; c < channels; c += EI_CHANNELS) {                                       \
            const size_t block = channels - c < EI_CHANNELS ? channels - c : EI_CHANNELS;          \
            type largest[EI_CHANNELS];                                                             \
            for (size_t i = 0; i < block; i++) {                                                   \
                largest[i] = low; /* as if clamped first: the maximum is the same */               \
            }                                                                                      \
            uint32_t line = seen->line;                                                            \
            for (uint32_t k = 0; k < seen->lines; k++) {                                           \
                const uint8_t *row = args->x.base + (size_t)line * args->x.row_bytes;              \
                for (size_t m = 0; m < seen->columns; m++) {                                       \
                    const uint8_t *pixel = row + seen->column + m * seen->column_step;             \
                    const type *x = (const type *)pixel + c;                                       \
                    for (size_t i = 0; i < block; i++) {                                           \
                        largest[i] = x[i] > largest[i] ? x[i] : largest[i];                        \
                    }                                                                              \
                }                                                                                  \
                line = ei_seen_next_line(seen, &args->x, line);                                    \
            }                                                                                      \
            for (size_t i = 0; i < block; i++) {                                                   \
                y[c + i] = largest[i] > high ? high : largest[i];                                  \
            }                                                                                      \
        }                                                                                          \
    }

EI_MAX_PIXEL(max_pixel_s8, int8_t)
EI_MAX_PIXEL(max_pixel_u8, uint8_t)
EI_MAX_PIXEL(max_pixel_s16, int16_t)

/// Defines `name`, which computes rows of y with `pixel`.
#define EI_POOL2D(name, args_type, type, pixel)                                                    \
    void name(const args_type *args, uint32_t begin, uint32_t end) {                               \
        const size_t pixel_bytes = (size_t)args->window.in_c * sizeof(type);                       \
        for (uint32_t r = begin; r < end; r++) {                                                   \
            ei_seen seen = ei_seen_lines(&args->window, &args->x, r, pixel_bytes);                 \
            type *y = (type *)ei_row(&args->y, r);                                                 \
            for (int32_t ox = 0; ox < args->window.out_w; ox++) {                                  \
                ei_seen_columns(&seen, &args->window, ox, pixel_bytes);                            \
                pixel(args, &seen, y);                                                             \
                y += args->window.in_c;                                                            \
            }                                                                                      \
        }                                                                                          \
    }

EI_POOL2D(ei_avg_pool2d_s8_scalar, ei_avg_pool2d_args, int8_t, avg_pixel_s8)
EI_POOL2D(ei_avg_pool2d_s16_scalar, ei_avg_pool2d_args, int16_t, avg_pixel_s16)
EI_POOL2D(ei_max_pool2d_s8_scalar, ei_max_pool2d_args, int8_t, max_pixel_s8)
EI_POOL2D(ei_max_pool2d_u8_scalar, ei_max_pool2d_args, uint8_t, max_pixel_u8)
EI_POOL2D(ei_max_pool2d_s16_scalar, ei_max_pool2d_args, int16_t, max_pixel_s16)
