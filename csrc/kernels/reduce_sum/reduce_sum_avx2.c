// Two ways through int8 and uint8, as they lie in memory. Sums of neighbours in x (a row each):
// vpsadbw adds 8 bytes at once. Sums that begin at neighbours in x (a column each): a vector of int16
// sums, from 256 terms on of int32; where the last vector is not whole, it overlaps the one before.
// Anything else is the scalar version's.
#include <immintrin.h>

#include "kernels/reduce_sum/reduce_sum.h"
#include "kernels/unroll.h"

#define EI_LEAST_COLUMNS 8

// Terms whose int8 sums int16 holds.
#define EI_SHORT_TERMS 256

/// Sum of unsigned bytes, each with its bits flipped first; modulo 2^32.
static uint32_t sum_bytes(const uint8_t *x, size_t count, uint8_t flip) {
    const __m256i flips = _mm256_set1_epi8((char)flip);
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(x + i));
        const __m256i flipped = _mm256_xor_si256(bytes, flips);
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(flipped, _mm256_setzero_si256()));
    }
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    for (; i + 8 <= count; i += 8) {
        const __m128i bytes = _mm_loadl_epi64((const __m128i *)(x + i));
        const __m128i flipped = _mm_move_epi64(_mm_xor_si128(bytes, _mm256_castsi256_si128(flips)));
        half = _mm_add_epi64(half, _mm_sad_epu8(flipped, _mm_setzero_si128()));
    }
    half = _mm_add_epi64(half, _mm_unpackhi_epi64(half, half));
    uint32_t sum = (uint32_t)_mm_cvtsi128_si32(half);
    for (; i < count; i++) {
        sum += (uint8_t)(x[i] ^ flip);
    }
    return sum;
}

/// Each sum is of rows of terms[2] neighbours. `flip` makes x unsigned; `offset` is taken away from
/// a sum.
static void sum_rows(const ei_reduce_sum_args *args, uint8_t flip, uint32_t offset) {
    for (size_t n = 0; n < args->count; n++) {
        const uint8_t *x = (const uint8_t *)args->x + n * args->step;
        uint32_t sum = 0;
        for (size_t i = 0; i < args->terms[0]; i++) {
            for (size_t j = 0; j < args->terms[1]; j++) {
                const uint8_t *row = x + i * args->strides[0] + j * args->strides[1];
                sum += sum_bytes(row, args->terms[2], flip);
            }
        }
        const float product = (float)(int32_t)(sum - offset) * args->multiplier;
        ((uint8_t *)args->y)[n] = (uint8_t)ei_requantize(product + args->offset, &args->out);
    }
}

typedef struct column_constants {
    __m128i flip;   // makes x signed
    __m256i offset; // added to a sum
    __m256 multiplier, addend;
    __m256 low, high;
} column_constants;

/// Eight int16 sums more.
EI_ALWAYS_INLINE __m256i widen_onto(__m256i sum, __m128i words) {
    return _mm256_add_epi32(sum, _mm256_cvtepi16_epi32(words));
}

EI_ALWAYS_INLINE __m256i rescale(__m256i sum, const column_constants *c) {
    const __m256 exact = _mm256_cvtepi32_ps(_mm256_add_epi32(sum, c->offset));
    const __m256 scaled = _mm256_add_ps(_mm256_mul_ps(exact, c->multiplier), c->addend);
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(scaled, c->low), c->high));
}

/// 32 or 8 columns.
EI_ALWAYS_INLINE void sum_columns(const ei_reduce_sum_args *args, const column_constants *c,
                                  size_t column, int whole) {
    const size_t *terms = args->terms;
    const size_t *strides = args->strides;
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums[4] = {zero, zero, zero, zero};
    __m256i first = zero;
    __m256i second = zero;
    uint32_t added = 0; // to first and second
    for (size_t i = 0; i < terms[0]; i++) {
        for (size_t j = 0; j < terms[1]; j++) {
            const uint8_t *x = (const uint8_t *)args->x + column + i * strides[0] + j * strides[1];
            for (size_t k = 0; k < terms[2]; k++, x += strides[2]) {
                if (whole) {
                    const __m128i low = _mm_loadu_si128((const __m128i *)x);
                    const __m128i high = _mm_loadu_si128((const __m128i *)(x + 16));
                    const __m256i low16 = _mm256_cvtepi8_epi16(_mm_xor_si128(low, c->flip));
                    const __m256i high16 = _mm256_cvtepi8_epi16(_mm_xor_si128(high, c->flip));
                    first = _mm256_add_epi16(first, low16);
                    second = _mm256_add_epi16(second, high16);
                } else {
                    const __m128i low = _mm_loadl_epi64((const __m128i *)x);
                    const __m256i low16 = _mm256_cvtepi8_epi16(_mm_xor_si128(low, c->flip));
                    first = _mm256_add_epi16(first, low16);
                }
                const int last = i + 1 == terms[0] && j + 1 == terms[1] && k + 1 == terms[2];
                if (++added == EI_SHORT_TERMS || last) {
                    sums[0] = widen_onto(sums[0], _mm256_castsi256_si128(first));
                    sums[1] = widen_onto(sums[1], _mm256_extracti128_si256(first, 1));
                    sums[2] = widen_onto(sums[2], _mm256_castsi256_si128(second));
                    sums[3] = widen_onto(sums[3], _mm256_extracti128_si256(second, 1));
                    first = zero;
                    second = zero;
                    added = 0;
                }
            }
        }
    }
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        sums[i] = rescale(sums[i], c);
    }
    // Already within the type: the lowest byte of each.
    const __m256i bytes_of = _mm256_set1_epi32(255);
    const __m256i ab = _mm256_packus_epi32(_mm256_and_si256(sums[0], bytes_of),
                                           _mm256_and_si256(sums[1], bytes_of));
    const __m256i cd = _mm256_packus_epi32(_mm256_and_si256(sums[2], bytes_of),
                                           _mm256_and_si256(sums[3], bytes_of));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order);
    uint8_t *y = (uint8_t *)args->y + column;
    if (whole) {
        _mm256_storeu_si256((__m256i *)y, bytes);
    } else {
        _mm_storel_epi64((__m128i *)y, _mm256_castsi256_si128(bytes));
    }
}

/// What both types do; `flip` makes x signed, and `offset` is then added to a sum.
static void sum_all_columns(const ei_reduce_sum_args *args, uint8_t flip, int32_t offset) {
    const column_constants c = {
        .flip = _mm_set1_epi8((char)flip),
        .offset = _mm256_set1_epi32(offset),
        .multiplier = _mm256_set1_ps(args->multiplier),
        .addend = _mm256_set1_ps(args->offset),
        .low = _mm256_set1_ps((float)args->out.clamp_min),
        .high = _mm256_set1_ps((float)args->out.clamp_max),
    };
    const size_t count = args->count;
    for (size_t n = 0; count >= 32 && n < count; n += 32) {
        sum_columns(args, &c, n + 32 <= count ? n : count - 32, 1);
    }
    for (size_t n = 0; count < 32 && n < count; n += 8) {
        sum_columns(args, &c, n + 8 <= count ? n : count - 8, 0);
    }
}

static uint32_t terms_of(const ei_reduce_sum_args *args) {
    return (uint32_t)(args->terms[0] * args->terms[1] * args->terms[2]); // 2^23 at most
}

static int has_rows(const ei_reduce_sum_args *args) {
    return args->strides[2] == 1 && args->terms[2] > 1;
}

static int has_columns(const ei_reduce_sum_args *args) {
    return args->step == 1 && args->count >= EI_LEAST_COLUMNS;
}

void ei_reduce_sum_s8_avx2(const ei_reduce_sum_args *args) {
    if (has_rows(args)) {
        sum_rows(args, 0x80, 128 * terms_of(args));
    } else if (has_columns(args)) {
        sum_all_columns(args, 0, 0);
    } else {
        ei_reduce_sum_s8_scalar(args);
    }
}

void ei_reduce_sum_u8_avx2(const ei_reduce_sum_args *args) {
    if (has_rows(args)) {
        sum_rows(args, 0, 0);
    } else if (has_columns(args)) {
        sum_all_columns(args, 0x80, (int32_t)(128 * terms_of(args)));
    } else {
        ei_reduce_sum_u8_scalar(args);
    }
}
