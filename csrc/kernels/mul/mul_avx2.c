// Differences fit int16, and the halves of their products are two instructions for 16 elements
// (mul_blocks.h becomes one vpmulld for 8).
#include <immintrin.h>

#include "kernels/mul/mul_blocks.h"
#include "kernels/requantize_avx2.h"

EI_MUL_BLOCKS(mul_s16, int16_t, double) // exact: below 2^32

typedef struct mul_constants {
    __m256i a_zero_point, b_zero_point; // int16
    __m256 multiplier;
    ei_requant_avx2 requant;
} mul_constants;

EI_ALWAYS_INLINE __m256i less_zero_point(const int8_t *x, __m256i zero_point) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x));
    return _mm256_sub_epi16(wide, zero_point);
}

/// Sixteen values of y, as int16.
EI_ALWAYS_INLINE __m256i mul_16(const int8_t *a, const int8_t *b, const mul_constants *c) {
    const __m256i a16 = less_zero_point(a, c->a_zero_point);
    const __m256i b16 = less_zero_point(b, c->b_zero_point);
    const __m256i low = _mm256_mullo_epi16(a16, b16);
    const __m256i high = _mm256_mulhi_epi16(a16, b16);
    const __m256i first = _mm256_unpacklo_epi16(low, high);
    const __m256i second = _mm256_unpackhi_epi16(low, high);
    const __m256i words = _mm256_packs_epi32(ei_scale_avx2(first, c->multiplier, &c->requant),
                                             ei_scale_avx2(second, c->multiplier, &c->requant));
    return _mm256_adds_epi16(words, c->requant.zero_point);
}

static void mul_s8(const ei_binary_blocks *blocks, const void *mul_args) {
    const ei_mul_args *args = mul_args;
    const mul_constants c = {
        .a_zero_point = _mm256_set1_epi16((short)args->a_zero_point),
        .b_zero_point = _mm256_set1_epi16((short)args->b_zero_point),
        .multiplier = _mm256_set1_ps(args->multiplier),
        .requant = ei_requant_avx2_of(&args->out),
    };
    const int8_t *a = blocks->a;
    const int8_t *b = blocks->b;
    int8_t *y = blocks->y;
    for (size_t n = 0; n < blocks->count; n++) {
        for (size_t i = 0; i < EI_BLOCK; i += 32) {
            const __m256i bytes =
                _mm256_packs_epi16(mul_16(a + i, b + i, &c), mul_16(a + i + 16, b + i + 16, &c));
            const __m256i raised = _mm256_max_epi8(bytes, c.requant.low);
            const __m256i in_order = _mm256_permute4x64_epi64(raised, 0xD8);
            _mm256_storeu_si256((__m256i *)(y + i), in_order);
        }
        a += blocks->a_step;
        b += blocks->b_step;
        y += EI_BLOCK;
    }
}

void ei_mul_s8_avx2(const ei_binary_run *run, const ei_mul_args *args) {
    ei_binary_in_blocks(run, sizeof(int8_t), mul_s8, args);
}

void ei_mul_s16_avx2(const ei_binary_run *run, const ei_mul_args *args) {
    ei_binary_in_blocks(run, sizeof(int16_t), mul_s16, args);
}
