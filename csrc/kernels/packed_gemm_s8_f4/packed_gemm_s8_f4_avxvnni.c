// vpdpbusd on 256 bits: four products of unsigned and signed bytes added to an int32. |sum| is at most
// 32 * 24 * 128.
#include <immintrin.h>

#include "kernels/unroll.h"

// The encoding of CPUs without AVX-512, whatever the compiler knows of it; the intrinsic where a test
// emulates that.
EI_ALWAYS_INLINE __m256i add_products(__m256i acc, __m256i w, __m256i x) {
#if EI_EMULATED
    acc = _mm256_dpbusd_epi32(acc, w, x);
#elif EI_AVXVNNI_AS_EVEX
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
#endif
    return acc;
}

#define EI_F4_ADD(acc, w, x)    ((acc) = add_products(acc, w, x))
#define EI_F4_TOTAL(acc)        (acc)
#define EI_F4_CORRECTION(pairs) _mm_madd_epi16(pairs, _mm_set1_epi16(-1))
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_ymm.h"

void ei_packed_gemm_s8_f4_avxvnni(const ei_packed_gemm_s8_f4_args *args) {
    multiply(args);
}
