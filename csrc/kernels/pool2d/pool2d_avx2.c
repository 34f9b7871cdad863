// One vector of channels at a time: the taps of a window are added (int8 to int16 sums, from 256 taps
// on to int32) or compared, and stay in registers. Where the last vector is not whole, it overlaps
// the one before. Pixels of less than 8 bytes are the scalar version's.
#include <immintrin.h>

#include "kernels/pool2d/pool2d_seen.h"
#include "kernels/unroll.h"

#define EI_LEAST_BYTES 8

// Integer means in float32: with n <= 2^15, |s| + n / 2 < 2^24 is exact, and a quotient of at most
// 128.5 that is no integer is 2^-15 or more away from one, so that division does not round to it.
#define EI_LARGEST_COUNT (1 << 15)

// Taps whose int8 sums int16 holds.
#define EI_SHORT_TAPS 256

typedef struct mean_constants {
    __m256 divisor, half; // integer mean
    __m256 multiplier;    // the other
    __m256i zero_sum;
    __m256i zero_point; // int16
    __m256i clamp_min, clamp_max;
} mean_constants;

static inline mean_constants constants_of(const ei_avg_pool2d_args *args, const ei_mean *mean) {
    return (mean_constants){
        .divisor = _mm256_set1_ps((float)mean->count),
        .half = _mm256_set1_ps((float)(mean->count / 2)),
        .multiplier = _mm256_set1_ps(mean->multiplier),
        .zero_sum = _mm256_set1_epi32((int32_t)mean->zero_sum),
        .zero_point = _mm256_set1_epi16((short)(args->integer_mean ? 0 : args->requant.zero_point)),
        .clamp_min = _mm256_set1_epi8((char)args->requant.clamp_min),
        .clamp_max = _mm256_set1_epi8((char)args->requant.clamp_max),
    };
}

EI_ALWAYS_INLINE __m256i mean_of(__m256i sum, const mean_constants *c, int integer_mean) {
    if (integer_mean) {
        const __m256 s = _mm256_cvtepi32_ps(sum);
        const __m256 sign = _mm256_and_ps(s, _mm256_set1_ps(-0.0f));
        const __m256 away = _mm256_add_ps(s, _mm256_or_ps(c->half, sign));
        return _mm256_cvttps_epi32(_mm256_div_ps(away, c->divisor));
    }
    const __m256 s = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, c->zero_sum));
    // What is too large for int32 would become negative; what is too small does so anyway.
    const __m256 large = _mm256_set1_ps(65536.0f);
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(s, c->multiplier), large));
}

/// 32 or 8 channels of a pixel.
EI_ALWAYS_INLINE void avg_vector(const ei_avg_pool2d_args *args, const ei_seen *seen,
                                 const mean_constants *constants, size_t channel, int8_t *y,
                                 int whole) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums[4] = {zero, zero, zero, zero};
    __m256i first = zero;
    __m256i second = zero;
    uint32_t line = seen->line;
    uint32_t taps = 0; // in first and second
    for (uint32_t k = 0; k < seen->lines; k++) {
        const uint8_t *x = args->x.base + (size_t)line * args->x.row_bytes + seen->column + channel;
        for (size_t m = 0; m < seen->columns; m++, x += seen->column_step) {
            if (whole) {
                first = _mm256_add_epi16(first,
                                         _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x)));
                second = _mm256_add_epi16(
                    second, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(x + 16))));
            } else {
                first = _mm256_add_epi16(first,
                                         _mm256_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)x)));
            }
            const int last = k + 1 == seen->lines && m + 1 == seen->columns;
            if (++taps == EI_SHORT_TAPS || last) {
                const __m128i low = _mm256_castsi256_si128(first);
                sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepi16_epi32(low));
                if (whole) {
                    const __m128i high = _mm256_extracti128_si256(first, 1);
                    const __m128i low2 = _mm256_castsi256_si128(second);
                    const __m128i high2 = _mm256_extracti128_si256(second, 1);
                    sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepi16_epi32(high));
                    sums[2] = _mm256_add_epi32(sums[2], _mm256_cvtepi16_epi32(low2));
                    sums[3] = _mm256_add_epi32(sums[3], _mm256_cvtepi16_epi32(high2));
                }
                first = zero;
                second = zero;
                taps = 0;
            }
        }
        line = ei_seen_next_line(seen, &args->x, line);
    }
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        if (whole || i == 0) {
            sums[i] = args->integer_mean ? mean_of(sums[i], constants, 1)
                                         : mean_of(sums[i], constants, 0);
        }
    }
    const __m256i ab =
        _mm256_adds_epi16(_mm256_packs_epi32(sums[0], sums[1]), constants->zero_point);
    const __m256i cd =
        _mm256_adds_epi16(_mm256_packs_epi32(sums[2], sums[3]), constants->zero_point);
    const __m256i bytes = _mm256_packs_epi16(ab, cd);
    const __m256i clamped =
        _mm256_min_epi8(_mm256_max_epi8(bytes, constants->clamp_min), constants->clamp_max);
    const __m256i in_order =
        _mm256_permutevar8x32_epi32(clamped, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    if (whole) {
        _mm256_storeu_si256((__m256i *)(y + channel), in_order);
    } else {
        _mm_storel_epi64((__m128i *)(y + channel), _mm256_castsi256_si128(in_order));
    }
}

void ei_avg_pool2d_s8_avx2(const ei_avg_pool2d_args *args, uint32_t begin, uint32_t end) {
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
            for (size_t c = 0; channels >= 32 && c < channels; c += 32) {
                avg_vector(args, &seen, &constants, c + 32 <= channels ? c : channels - 32, y, 1);
            }
            for (size_t c = 0; channels < 32 && c < channels; c += 8) {
                avg_vector(args, &seen, &constants, c + 8 <= channels ? c : channels - 8, y, 0);
            }
        }
    }
}

enum element { S8, U8, S16 };

EI_ALWAYS_INLINE __m256i larger(__m256i a, __m256i b, enum element element) {
    return element == S8   ? _mm256_max_epi8(a, b)
           : element == U8 ? _mm256_max_epu8(a, b)
                           : _mm256_max_epi16(a, b);
}

EI_ALWAYS_INLINE __m256i smaller(__m256i a, __m256i b, enum element element) {
    return element == S8   ? _mm256_min_epi8(a, b)
           : element == U8 ? _mm256_min_epu8(a, b)
                           : _mm256_min_epi16(a, b);
}

EI_ALWAYS_INLINE __m256i all_equal(int32_t value, enum element element) {
    return element == S16 ? _mm256_set1_epi16((short)value) : _mm256_set1_epi8((char)value);
}

/// 32 or 8 bytes of a pixel.
EI_ALWAYS_INLINE void max_vector(const ei_max_pool2d_args *args, const ei_seen *seen, __m256i low,
                                 __m256i high, size_t at, uint8_t *y, int whole,
                                 enum element element) {
    __m256i largest = low; // as if clamped first: the maximum is the same
    uint32_t line = seen->line;
    for (uint32_t k = 0; k < seen->lines; k++) {
        const uint8_t *x = args->x.base + (size_t)line * args->x.row_bytes + seen->column + at;
        for (size_t m = 0; m < seen->columns; m++, x += seen->column_step) {
            const __m256i value = whole
                                      ? _mm256_loadu_si256((const __m256i *)x)
                                      : _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)x));
            largest = larger(largest, value, element);
        }
        line = ei_seen_next_line(seen, &args->x, line);
    }
    const __m256i clamped = smaller(largest, high, element);
    if (whole) {
        _mm256_storeu_si256((__m256i *)(y + at), clamped);
    } else {
        _mm_storel_epi64((__m128i *)(y + at), _mm256_castsi256_si128(clamped));
    }
}

EI_ALWAYS_INLINE void max_pool2d(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end,
                                 enum element element) {
    const ei_window *w = &args->window;
    const size_t bytes = (size_t)w->in_c * (element == S16 ? 2 : 1);
    const __m256i low = all_equal(args->clamp_min, element);
    const __m256i high = all_equal(args->clamp_max, element);
    for (uint32_t r = begin; r < end; r++) {
        ei_seen seen = ei_seen_lines(w, &args->x, r, bytes);
        uint8_t *y = ei_row(&args->y, r);
        for (int32_t ox = 0; ox < w->out_w; ox++, y += bytes) {
            ei_seen_columns(&seen, w, ox, bytes);
            for (size_t at = 0; bytes >= 32 && at < bytes; at += 32) {
                const size_t from = at + 32 <= bytes ? at : bytes - 32;
                max_vector(args, &seen, low, high, from, y, 1, element);
            }
            for (size_t at = 0; bytes < 32 && at < bytes; at += 8) {
                const size_t from = at + 8 <= bytes ? at : bytes - 8;
                max_vector(args, &seen, low, high, from, y, 0, element);
            }
        }
    }
}

void ei_max_pool2d_s8_avx2(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end) {
    if (args->window.in_c < EI_LEAST_BYTES) {
        ei_max_pool2d_s8_scalar(args, begin, end);
    } else {
        max_pool2d(args, begin, end, S8);
    }
}

void ei_max_pool2d_u8_avx2(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end) {
    if (args->window.in_c < EI_LEAST_BYTES) {
        ei_max_pool2d_u8_scalar(args, begin, end);
    } else {
        max_pool2d(args, begin, end, U8);
    }
}

void ei_max_pool2d_s16_avx2(const ei_max_pool2d_args *args, uint32_t begin, uint32_t end) {
    if (args->window.in_c < EI_LEAST_BYTES / 2) {
        ei_max_pool2d_s16_scalar(args, begin, end);
    } else {
        max_pool2d(args, begin, end, S16);
    }
}
