#include "kernels/pool2d/pool2d.h"

// Channels that are worked on at once: their sums stay in registers or L1, and the walk over the
// taps is paid once for all of them.
#define EI_BLOCK 64

/// The part of a window that lies inside the image.
typedef struct ei_seen {
    uint32_t line, lines, line_step;     // rows of x
    size_t column, columns, column_step; // in elements, the columns being pixels apart
} ei_seen;

static inline ei_seen see(const ei_window *w, uint32_t r, int32_t ox) {
    const uint32_t image = r / (uint32_t)w->out_h;
    const int64_t y0 = (int64_t)(r % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    const int64_t x0 = (int64_t)ox * w->stride_w - w->pad_left;
    const ei_taps down = ei_taps_inside(y0, w->kernel_h, w->dilation_h, w->in_h);
    const ei_taps across = ei_taps_inside(x0, w->kernel_w, w->dilation_w, w->in_w);
    const int64_t y = y0 + (int64_t)down.begin * w->dilation_h;
    const int64_t x = x0 + (int64_t)across.begin * w->dilation_w;
    return (ei_seen){
        .line = image * (uint32_t)w->in_h + (uint32_t)y,
        .lines = (uint32_t)(down.end - down.begin),
        .line_step = (uint32_t)w->dilation_h,
        .column = (size_t)x * (size_t)w->in_c,
        .columns = (size_t)(across.end - across.begin),
        .column_step = (size_t)w->dilation_w * (size_t)w->in_c,
    };
}

/// What turns a window's sum into y.
typedef struct ei_mean {
    int64_t count;    // the divisor
    int64_t zero_sum; // taps inside * in_zero_point
    float multiplier; // args->multiplier / count
} ei_mean;

static inline ei_mean mean_over(const ei_avg_pool2d_args *args, const ei_seen *seen) {
    const int64_t inside = (int64_t)seen->lines * (int64_t)seen->columns;
    const int64_t all = (int64_t)args->window.kernel_h * args->window.kernel_w;
    const int64_t count = args->all_taps ? all : inside;
    return (ei_mean){count, inside * args->in_zero_point, args->multiplier / (float)count};
}

static inline int32_t mean_of(int64_t sum, const ei_mean *mean, const ei_avg_pool2d_args *args) {
    if (!args->integer_mean) {
        return ei_requantize((float)(sum - mean->zero_sum) * mean->multiplier, &args->requant);
    }
    const int64_t half = mean->count / 2;
    const int64_t value = (sum + (sum > 0 ? half : -half)) / mean->count;
    const int64_t low = args->requant.clamp_min;
    const int64_t high = args->requant.clamp_max;
    return (int32_t)(value < low ? low : (value > high ? high : value));
}

/// Defines `name`, which computes one pixel of y.
#define EI_AVG_PIXEL(name, type, sum_type)                                                         \
    static void name(const ei_avg_pool2d_args *args, const ei_seen *seen, type *y) {               \
        const ei_mean mean = mean_over(args, seen);                                                \
        const size_t channels = (size_t)args->window.in_c;                                         \
        for (size_t c = 0; c < channels; c += EI_BLOCK) {                                          \
            const size_t block = channels - c < EI_BLOCK ? channels - c : EI_BLOCK;                \
            sum_type sums[EI_BLOCK] = {0};                                                         \
            for (uint32_t k = 0; k < seen->lines; k++) {                                           \
                const type *x = (const type *)ei_row(&args->x, seen->line + k * seen->line_step);  \
                x += seen->column + c;                                                             \
                for (size_t m = 0; m < seen->columns; m++) {                                       \
                    for (size_t i = 0; i < block; i++) {                                           \
                        sums[i] += x[m * seen->column_step + i];                                   \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
            for (size_t i = 0; i < block; i++) {                                                   \
                y[c + i] = (type)mean_of(sums[i], &mean, args);                                    \
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
        for (size_t c = 0; c < channels; c += EI_BLOCK) {                                          \
            const size_t block = channels - c < EI_BLOCK ? channels - c : EI_BLOCK;                \
            type largest[EI_BLOCK];                                                                \
            for (size_t i = 0; i < block; i++) {                                                   \
                largest[i] = low; /* as if clamped first: the maximum is the same */               \
            }                                                                                      \
            for (uint32_t k = 0; k < seen->lines; k++) {                                           \
                const type *x = (const type *)ei_row(&args->x, seen->line + k * seen->line_step);  \
                x += seen->column + c;                                                             \
                for (size_t m = 0; m < seen->columns; m++) {                                       \
                    for (size_t i = 0; i < block; i++) {                                           \
                        const type value = x[m * seen->column_step + i];                           \
                        largest[i] = value > largest[i] ? value : largest[i];                      \
                    }                                                                              \
                }                                                                                  \
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
        for (uint32_t r = begin; r < end; r++) {                                                   \
            type *y = (type *)ei_row(&args->y, r);                                                 \
            for (int32_t ox = 0; ox < args->window.out_w; ox++) {                                  \
                const ei_seen seen = see(&args->window, r, ox);                                    \
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
