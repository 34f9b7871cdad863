/// requantize.h for vectors of 512 bits, bit for bit.
#ifndef EI_KERNELS_REQUANTIZE_AVX512_H
#define EI_KERNELS_REQUANTIZE_AVX512_H

#include <immintrin.h>

#include "kernels/requantize.h"

typedef struct ei_requant_avx512 {
    __m512 high;
    __m512i zero_point; // int16
    __m512i low, top;   // int8
} ei_requant_avx512;

/// `requant` within int8.
static inline ei_requant_avx512 ei_requant_avx512_of(const ei_requant *requant) {
    return (ei_requant_avx512){
        .high = _mm512_set1_ps((float)(requant->clamp_max - requant->zero_point)),
        .zero_point = _mm512_set1_epi16((short)requant->zero_point),
        .low = _mm512_set1_epi8((char)requant->clamp_min),
        .top = _mm512_set1_epi8((char)requant->clamp_max),
    };
}

/// Rounds scaled sums to int32. Only what is too large must be clamped before: the conversion makes
/// INT32_MIN of everything out of range, and the packs below saturate what is too small.
static inline __m512i ei_scale_avx512(__m512i acc, __m512 multiplier,
                                      const ei_requant_avx512 *requant) {
    const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), multiplier);
    return _mm512_cvtps_epi32(_mm512_min_ps(scaled, requant->high));
}

/// The same for multipliers below 1 in magnitude, which leave nothing out of range: what is above the
/// clamp is left to ei_pack_clamp_avx512().
static inline __m512i ei_scale_below_one_avx512(__m512i acc, __m512 multiplier) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), multiplier));
}

/// Four vectors from ei_scale_avx512() to int8. Within each 128-bit lane, the values of a, b, c, d
/// follow each other.
static inline __m512i ei_pack_avx512(__m512i a, __m512i b, __m512i c, __m512i d,
                                     const ei_requant_avx512 *requant) {
    const __m512i ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), requant->zero_point);
    const __m512i cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), requant->zero_point);
    return _mm512_max_epi8(_mm512_packs_epi16(ab, cd), requant->low);
}

/// As ei_pack_avx512(), of vectors from ei_scale_below_one_avx512().
static inline __m512i ei_pack_clamp_avx512(__m512i a, __m512i b, __m512i c, __m512i d,
                                           const ei_requant_avx512 *requant) {
    return _mm512_min_epi8(ei_pack_avx512(a, b, c, d, requant), requant->top);
}

#endif
