// vpmaddwd: a * a_multiplier + b * b_multiplier of interleaved a and b in one instruction, for each
// of two halves of the multipliers, which need more than 16 bits. (vpmulld takes two for one
// product; compilers, left to add_blocks.h, use it.)
#include <immintrin.h>

#include "kernels/add/add_blocks.h"

EI_ADD_BLOCKS(add_s16, int16_t, int64_t)

// Multipliers are below 2^24 (add.h): high * 2^15 + low, both int16.
#define EI_LOW_BITS 15

typedef struct add_constants {
    __m256i high, low; // multipliers of a and b, in pairs
    __m256i bias;
    __m256i shift;
    __m256i zero_point; // int16
    __m256i clamp_min, clamp_max;
} add_constants;

static inline __m256i pair_of(int32_t a, int32_t b) {
    return _mm256_set1_epi32((int32_t)((uint32_t)b << 16 | (uint16_t)a));
}

/// Eight sums of interleaved (a, b), shifted. Steps may wrap, the sum does not.
EI_ALWAYS_INLINE __m256i sum_of(__m256i ab, const add_constants *c) {
    const __m256i high = _mm256_slli_epi32(_mm256_madd_epi16(ab, c->high), EI_LOW_BITS);
    const __m256i low = _mm256_add_epi32(_mm256_madd_epi16(ab, c->low), c->bias);
    return _mm256_srav_epi32(_mm256_add_epi32(high, low), c->shift);
}

/// Sixteen values of y before the clamp, as int16.
EI_ALWAYS_INLINE __m256i add_16(const int8_t *a, const int8_t *b, const add_constants *c) {
    const __m256i a16 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)a));
    const __m256i b16 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)b));
    const __m256i first = sum_of(_mm256_unpacklo_epi16(a16, b16), c);
    const __m256i second = sum_of(_mm256_unpackhi_epi16(a16, b16), c);
    return _mm256_adds_epi16(_mm256_packs_epi32(first, second), c->zero_point);
}

static void add_s8(const ei_binary_blocks *blocks, const void *add_args) {
    const ei_add_args *args = add_args;
    const int32_t ones = (1 << EI_LOW_BITS) - 1;
    const add_constants c = {
        .high = pair_of(args->a_multiplier >> EI_LOW_BITS, args->b_multiplier >> EI_LOW_BITS),
        .low = pair_of(args->a_multiplier & ones, args->b_multiplier & ones),
        .bias = _mm256_set1_epi32((int32_t)args->bias),
        .shift = _mm256_set1_epi32((int32_t)args->shift),
        .zero_point = _mm256_set1_epi16((short)args->zero_point),
        .clamp_min = _mm256_set1_epi8((char)args->clamp_min),
        .clamp_max = _mm256_set1_epi8((char)args->clamp_max),
    };
    const int8_t *a = blocks->a;
    const int8_t *b = blocks->b;
    int8_t *y = blocks->y;
    for (size_t n = 0; n < blocks->count; n++) {
        for (size_t i = 0; i < EI_BLOCK; i += 32) {
            const __m256i bytes =
                _mm256_packs_epi16(add_16(a + i, b + i, &c), add_16(a + i + 16, b + i + 16, &c));
            const __m256i clamped =
                _mm256_min_epi8(_mm256_max_epi8(bytes, c.clamp_min), c.clamp_max);
            const __m256i in_order = _mm256_permute4x64_epi64(clamped, 0xD8);
            _mm256_storeu_si256((__m256i *)(y + i), in_order);
        }
        a += blocks->a_step;
        b += blocks->b_step;
        y += EI_BLOCK;
    }
}

void ei_add_s8_avx2(const ei_binary_run *run, const ei_add_args *args) {
    ei_binary_in_blocks(run, sizeof(int8_t), add_s8, args);
}

void ei_add_s16_avx2(const ei_binary_run *run, const ei_add_args *args) {
    ei_binary_in_blocks(run, sizeof(int16_t), add_s16, args);
}
