// One vector of channels at a time: the taps of a window are added (saddw: int8 to int16 sums, from 256
// taps on to int32) or compared, and stay in registers. Where the last vector is not whole, it overlaps
// the one before. Pixels of less than 8 bytes are the scalar version's.
#include <arm_neon.h>

#include "kernels/pool2d/pool2d_seen.h"
#include "kernels/requantize_neon.h"
#include "kernels/unroll.h"

#define EI_LEAST_BYTES 8

// Integer means in float32: with n <= 2^15, |s| + n / 2 < 2^24 is exact, and a quotient of at most
// 128.5 that is no integer is 2^-15 or more away from one, so that division does not round to it.
#define EI_LARGEST_COUNT (1 << 15)

// Taps whose int8 sums int16 holds.
#define EI_SHORT_TAPS 256

typedef struct mean_constants {
    float32x4_t divisor, half; // integer mean
    float32x4_t multiplier;    // the other; integer mean: 1 / divisor
    int32x4_t zero_sum;
    ei_requant_neon requant;
} mean_constants;

static inline mean_constants constants_of(const ei_avg_pool2d_args *args, const ei_mean *mean) {
    const float divisor = (float)mean->count;
    mean_constants constants = {
        .divisor = vdupq_n_f32(divisor),
        .half = vdupq_n_f32((float)(mean->count / 2)),
        .multiplier = vdupq_n_f32(args->integer_mean ? 1.0f / divisor : mean->multiplier),
        .zero_sum = vdupq_n_s32((int32_t)mean->zero_sum),
        .requant = ei_requant_neon_of(&args->requant),
    };
    if (args->integer_mean) {
        constants.requant.zero_point = vdupq_n_s16(0);
    }
    return constants;
}

#if defined(__aarch64__)
/// Quotients, rounded towards zero.
static inline int32x4_t quotient_of(float32x4_t dividend, const mean_constants *c) {
    return vcvtq_s32_f32(vdivq_f32(dividend, c->divisor));
}
#else
/// The same without division. A product with the reciprocal is less than 2^-15 off, so that of the two
/// integers beside it one is the quotient: all products here are below 2^24, hence exact.
static inline int32x4_t quotient_of(float32x4_t dividend, const mean_constants *c) {
    const float32x4_t size = vabsq_f32(dividend);
    const int32x4_t above =
        vaddq_s32(vcvtq_s32_f32(vmulq_f32(size, c->multiplier)), vdupq_n_s32(1));
    // A comparison is -1 where it holds: less 1 where `above` is too large, less 2 where by two.
    const float32x4_t whole = vmulq_f32(vcvtq_f32_s32(above), c->divisor);
    const int32x4_t once = vreinterpretq_s32_u32(vcgtq_f32(whole, size));
    const float32x4_t less = vsubq_f32(whole, c->divisor);
    const int32x4_t twice = vreinterpretq_s32_u32(vcgtq_f32(less, size));
    const int32x4_t quotient = vaddq_s32(above, vaddq_s32(once, twice));
    const int32x4_t sign = vshrq_n_s32(vreinterpretq_s32_f32(dividend), 31);
    return vsubq_s32(veorq_s32(quotient, sign), sign);
}
#endif

EI_ALWAYS_INLINE int32x4_t mean_of(int32x4_t sum, const mean_constants *c, int integer_mean) {
    if (!integer_mean) {
        return ei_scale_neon(vsubq_s32(sum, c->zero_sum), c->multiplier);
    }
    const uint32x4_t sign = vdupq_n_u32(UINT32_C(1) << 31);
    const float32x4_t s = vcvtq_f32_s32(sum);
    return quotient_of(vaddq_f32(s, vbslq_f32(sign, s, c->half)), c);
}

/// Sixteen or eight int8 more.
EI_ALWAYS_INLINE void add_vector(int16x8_t sums[2], const int8_t *x, int whole) {
    if (whole) {
        const int8x16_t values = vld1q_s8(x);
        sums[0] = vaddw_s8(sums[0], vget_low_s8(values));
        sums[1] = vaddw_s8(sums[1], vget_high_s8(values));
    } else {
        sums[0] = vaddw_s8(sums[0], vld1_s8(x));
    }
}

/// 16 or 8 channels of a pixel.
EI_ALWAYS_INLINE void avg_vector(const ei_avg_pool2d_args *args, const ei_seen *seen,
                                 const mean_constants *constants, size_t channel, int8_t *y,
                                 int whole) {
    int32x4_t sums[4];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        sums[i] = vdupq_n_s32(0);
    }
    int16x8_t few[2] = {vdupq_n_s16(0), vdupq_n_s16(0)};
    uint32_t line = seen->line;
    uint32_t taps = 0; // in few
    for (uint32_t k = 0; k < seen->lines; k++) {
        const int8_t *x = (const int8_t *)args->x.base + (size_t)line * args->x.row_bytes +
                          seen->column + channel;
        for (size_t m = 0; m < seen->columns; m++, x += seen->column_step) {
            add_vector(few, x, whole);
            const int last = k + 1 == seen->lines && m + 1 == seen->columns;
            if (++taps == EI_SHORT_TAPS || last) {
                EI_UNROLL
                for (int i = 0; i < 2; i++) {
                    sums[2 * i] = vaddw_s16(sums[2 * i], vget_low_s16(few[i]));
                    sums[2 * i + 1] = vaddw_s16(sums[2 * i + 1], vget_high_s16(few[i]));
                    few[i] = vdupq_n_s16(0);
                }
                taps = 0;
            }
        }
        line = ei_seen_next_line(seen, &args->x, line);
    }
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        if (whole || i < 2) {
            sums[i] = args->integer_mean ? mean_of(sums[i], constants, 1)
                                         : mean_of(sums[i], constants, 0);
        }
    }
    const int8x16_t bytes = ei_pack_neon(sums[0], sums[1], sums[2], sums[3], &constants->requant);
    if (whole) {
        vst1q_s8(y + channel, bytes);
    } else {
        vst1_s8(y + channel, vget_low_s8(bytes));
    }
}

void ei_avg_pool2d_s8_neon(const ei_avg_pool2d_args *args, uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    const size_t channels = (size_t)w->in_c;
    if (channels < EI_LEAST_BYTES || (int64_t)w->kernel_h * w->kernel_w > EI_LARGEST_COUNT) {
        ei_avg_pool2d_s8_scalar(args, begin, end);
        return;
    }
    for (uint32_t r = begin; r < end; r++) {
        ei_seen seen = ei_seen_lines(w, &args->x, r, channels);
        int8_t *y = (int8_t *)ei_row(&args->y, r);
        mean_constants constants = {0};
        size_t columns = 0; // that the constants are for
        for (int32_t ox = 0; ox < w->out_w; ox++, y += channels) {
            ei_seen_columns(&seen, w, ox, channels);
            if (seen.columns != columns) {
                const ei_mean mean = ei_mean_over(args, &seen);
                constants = constants_of(args, &mean);
                columns = seen.columns;
            }
            for (size_t c = 0; channels >= 16 && c < channels; c += 16) {
                avg_vector(args, &seen, &constants, c + 16 <= channels ? c : channels - 16, y, 1);
            }
            for (size_t c = 0; channels < 16 && c < channels; c += 8) {
                avg_vector(args, &seen, &constants, c + 8 <= channels ? c : channels - 8, y, 0);
            }
        }
    }
}

enum element { S8, U8, S16 };

EI_ALWAYS_INLINE uint8x16_t larger(uint8x16_t a, uint8x16_t b, enum element element) {
    if (element == U8) {
        return vmaxq_u8(a, b);
    }
    if (element == S8) {
        return vreinterpretq_u8_s8(vmaxq_s8(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)));
    }
    return vreinterpretq_u8_s16(vmaxq_s16(vreinterpretq_s16_u8(a), vreinterpretq_s16_u8(b)));
}

EI_ALWAYS_INLINE uint8x16_t smaller(uint8x16_t a, uint8x16_t b, enum element element) {
    if (element == U8) {
        return vminq_u8(a, b);
    }
    if (element == S8) {
        return vreinterpretq_u8_s8(vminq_s8(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)));
    }
    return vreinterpretq_u8_s16(vminq_s16(vreinterpretq_s16_u8(a), vreinterpretq_s16_u8(b)));
}

EI_ALWAYS_INLINE uint8x16_t all_equal(int32_t value, enum element element) {
    return element == S16 ? vreinterpretq_u8_s16(vdupq_n_s16((int16_t)value))
                          : vdupq_n_u8((uint8_t)value);
}

EI_ALWAYS_INLINE uint8x16_t load(const uint8_t *x, int whole) {
    if (whole) {
        return vld1q_u8(x);
    }
    const uint8x8_t half = vld1_u8(x);
    return vcombine_u8(half, half);
}

/// 16 or 8 bytes of a pixel.
EI_ALWAYS_INLINE void max_vector(const ei_max_pool2d_args *args, const ei_seen *seen,
                                 uint8x16_t low, uint8x16_t high, size_t at, uint8_t *y, int whole,
                                 enum element element) {
    uint8x16_t largest = low; // as if clamped first: the maximum is the same
    uint32_t line = seen->line;
    for (uint32_t k = 0; k < seen->lines; k++) {
        const uint8_t *x = args->x.base + (size_t)line * args->x.row_bytes + seen->column + at;
        for (size_t m = 0; m < seen->columns; m++, x += seen->column_step) {
            largest = larger(largest, load(x, whole), element);
        }
        line = ei_seen_next_line(seen, &args->x, line);
    }
    const uint8x16_t clamped = smaller(largest, high, element);
    if (whole) {
        vst1q_u8(y + at, clamped);
    } else {
        vst1_u8(y + at, vget_low_u8(clamped));
    }
}

EI_ALWAYS_INLINE void max_pool2d(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end,
                                 enum element element) {
    const ei_window *w = &args->window;
    const size_t bytes = (size_t)w->in_c * (element == S16 ? 2 : 1);
    const uint8x16_t low = all_equal(args->clamp_min, element);
    const uint8x16_t high = all_equal(args->clamp_max, element);
    for (uint32_t r = begin; r < end; r++) {
        ei_seen seen = ei_seen_lines(w, &args->x, r, bytes);
        uint8_t *y = ei_row(&args->y, r);
        for (int32_t ox = 0; ox < w->out_w; ox++, y += bytes) {
            ei_seen_columns(&seen, w, ox, bytes);
            for (size_t at = 0; bytes >= 16 && at < bytes; at += 16) {
                const size_t from = at + 16 <= bytes ? at : bytes - 16;
                max_vector(args, &seen, low, high, from, y, 1, element);
            }
            for (size_t at = 0; bytes < 16 && at < bytes; at += 8) {
                const size_t from = at + 8 <= bytes ? at : bytes - 8;
                max_vector(args, &seen, low, high, from, y, 0, element);
            }
        }
    }
}

void ei_max_pool2d_s8_neon(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end) {
    if (args->window.in_c < EI_LEAST_BYTES) {
        ei_max_pool2d_s8_scalar(args, begin, end);
    } else {
        max_pool2d(args, begin, end, S8);
    }
}

void ei_max_pool2d_u8_neon(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end) {
    if (args->window.in_c < EI_LEAST_BYTES) {
        ei_max_pool2d_u8_scalar(args, begin, end);
    } else {
        max_pool2d(args, begin, end, U8);
    }
}

void ei_max_pool2d_s16_neon(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end) {
    if (args->window.in_c < EI_LEAST_BYTES / 2) {
        ei_max_pool2d_s16_scalar(args, begin, end);
    } else {
        max_pool2d(args, begin, end, S16);
    }
}
