/// requantize.h for vectors of 256 bits, bit for bit.
#ifndef EI_KERNELS_REQUANTIZE_AVX2_H
#define EI_KERNELS_REQUANTIZE_AVX2_H

#include <immintrin.h>

#include "kernels/requantize.h"

typedef struct ei_requant_avx2 {
    __m256 high;
    __m256i zero_point; // int16
    __m256i low, top;   // int8
} ei_requant_avx2;

/// `requant` within int8.
static inline ei_requant_avx2 ei_requant_avx2_of(const ei_requant *requant) {
    return (ei_requant_avx2){
        .high = _mm256_set1_ps((float)(requant->clamp_max - requant->zero_point)),
        .zero_point = _mm256_set1_epi16((short)requant->zero_point),
        .low = _mm256_set1_epi8((char)requant->clamp_min),
        .top = _mm256_set1_epi8((char)requant->clamp_max),
    };
}

/// Rounds scaled sums to int32. Only what is too large must be clamped before: the conversion makes
/// INT32_MIN of everything out of range, and the packs below saturate what is too small.
static inline __m256i ei_scale_avx2(__m256i acc, __m256 multiplier,
                                    const ei_requant_avx2 *requant) {
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), multiplier);
    return _mm256_cvtps_epi32(_mm256_min_ps(scaled, requant->high));
}

/// The same for multipliers below 1 in magnitude, which leave nothing out of range: what is above the
/// clamp is left to ei_pack_clamp_avx2().
static inline __m256i ei_scale_below_one_avx2(__m256i acc, __m256 multiplier) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(acc), multiplier));
}

/// Two pixels of 16 channels to int8: (a, b) in the lower half, (c, d) in the upper.
static inline __m256i ei_pack_avx2(__m256i a, __m256i b, __m256i c, __m256i d,
                                   const ei_requant_avx2 *requant) {
    const __m256i ab = _mm256_adds_epi16(_mm256_packs_epi32(a, b), requant->zero_point);
    const __m256i cd = _mm256_adds_epi16(_mm256_packs_epi32(c, d), requant->zero_point);
    const __m256i bytes = _mm256_max_epi8(_mm256_packs_epi16(ab, cd), requant->low);
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// As ei_pack_avx2(), of vectors from ei_scale_below_one_avx2().
static inline __m256i ei_pack_clamp_avx2(__m256i a, __m256i b, __m256i c, __m256i d,
                                         const ei_requant_avx2 *requant) {
    return _mm256_min_epi8(ei_pack_avx2(a, b, c, d, requant), requant->top);
}

/// Stores `count` of 16 channels, 1 to 16.
static inline void ei_store_channels_sse(int8_t *y, __m128i bytes, size_t count) {
    if (count == 16) {
        _mm_storeu_si128((__m128i *)y, bytes);
        return;
    }
    int8_t all[16];
    _mm_storeu_si128((__m128i *)all, bytes);
    for (size_t i = 0; i < count; i++) {
        y[i] = all[i];
    }
}

#endif
