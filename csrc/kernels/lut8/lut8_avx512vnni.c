// vpermi2b: 64 look-ups in the 128 bytes of two registers. The table is four; the sign of an index
// chooses the pair. Not every CPU of this tier has the instruction: AVX-512 VBMI, see table.c.
#include <immintrin.h>

#include "kernels/lut8/lut8.h"

__attribute__((target("avx512vbmi"))) void
ei_lut8_b1_avx512vnni(const uint8_t *x, const void *table, void *y, size_t count) {
    const uint8_t *entries = table;
    uint8_t *out = y;
    const __m512i t0 = _mm512_loadu_si512(entries);
    const __m512i t1 = _mm512_loadu_si512(entries + 64);
    const __m512i t2 = _mm512_loadu_si512(entries + 128);
    const __m512i t3 = _mm512_loadu_si512(entries + 192);
    for (size_t i = 0; i < count; i += 64) {
        const __mmask64 mask = count - i < 64 ? UINT64_MAX >> (64 - (count - i)) : UINT64_MAX;
        const __m512i index = _mm512_maskz_loadu_epi8(mask, x + i);
        const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
        const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
        const __m512i value = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
        _mm512_mask_storeu_epi8(out + i, mask, value);
    }
}
