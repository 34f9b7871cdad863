// In front of the compiler's own: AVX-512 and its VNNI by SIMDe (Debian's libsimde-dev) on a CPU with AVX2
// and FMA, so that tests can run the tiers that need them anywhere. Conversions that SIMDe 0.7 lacks are
// made of two of 256 bits.
#include_next <immintrin.h>
#ifndef EI_TESTS_EMULATED_IMMINTRIN_H
#define EI_TESTS_EMULATED_IMMINTRIN_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

static inline simde__m512i emulated_join(__m256i low, __m256i high) {
    return simde_mm512_inserti64x4(simde_mm512_castsi256_si512(low), high, 1);
}

static inline simde__m512 emulated_join_ps(__m256 low, __m256 high) {
    return simde_mm512_castsi512_ps(
        emulated_join(_mm256_castps_si256(low), _mm256_castps_si256(high)));
}

static inline simde__m512i emulated_cvtepu8_epi32(__m128i x) {
    return emulated_join(_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8)));
}

static inline simde__m512 emulated_cvtph_ps(__m256i x) {
    return emulated_join_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(x)),
                            _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)));
}

static inline simde__m512 emulated_cvtepi32_ps(simde__m512i x) {
    return emulated_join_ps(_mm256_cvtepi32_ps(simde_mm512_castsi512_si256(x)),
                            _mm256_cvtepi32_ps(simde_mm512_extracti64x4_epi64(x, 1)));
}

static inline int32_t emulated_reduce_add_epi32(simde__m512i x) {
    uint32_t lanes[16], sum = 0;
    simde_mm512_storeu_si512(lanes, x);
    for (int i = 0; i < 16; i++) {
        sum += lanes[i];
    }
    return (int32_t)sum;
}

#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtph_ps
#undef _mm512_cvtepi32_ps
#undef _mm512_reduce_add_epi32
#define _mm512_reduce_add_epi32(x) emulated_reduce_add_epi32(x)
#define _mm512_cvtepu8_epi32(x)    emulated_cvtepu8_epi32(x)
#define _mm512_cvtph_ps(x)         emulated_cvtph_ps(x)
#define _mm512_cvtepi32_ps(x)      emulated_cvtepi32_ps(x)

#endif
