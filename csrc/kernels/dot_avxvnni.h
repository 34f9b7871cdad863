/// vpdpbusd on 256 bits, for tier avxvnni: four products of unsigned and signed bytes added to an int32.
#ifndef EI_KERNELS_DOT_AVXVNNI_H
#define EI_KERNELS_DOT_AVXVNNI_H

#include <immintrin.h>

#include "kernels/unroll.h"

// The encoding of CPUs without AVX-512, whatever the compiler knows of it; the intrinsic where a test
// emulates that.
EI_ALWAYS_INLINE __m256i ei_dot_avxvnni(__m256i acc, __m256i w, __m256i x) {
#if EI_EMULATED
    acc = _mm256_dpbusd_epi32(acc, w, x);
#elif EI_AVXVNNI_AS_EVEX
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
#endif
    return acc;
}

#endif
