// CRC-32 by folding with PCLMULQDQ: the remainder of a 128-bit block, moved on by n bits, is two
// carry-less products with constants x^n mod P, so a block far ahead can be folded into a later one
// without a division. Four accumulators hide the latency of the multiplier. At the end 128 bits are
// reduced to 64, then by Barrett's method to 32.
//
// Source: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
// Instruction", Intel, 2009; the constants are those of its bit-reflected CRC-32.
#include "base/crc32.h"

#if defined(__x86_64__) || defined(__i386__)

#include <immintrin.h>

#define EI_PCLMUL __attribute__((target("pclmul,sse4.1")))

/// A model is mostly read once and from memory. The CPU's own prefetching ends at each page; from a
/// page ahead it goes 1.7 times as fast (Sapphire Rapids: 13.6 GB/s, not 7.9), at any distance from
/// 4 to 16 KiB. A prefetch never faults, so it may lie past the end.
enum { EI_PREFETCH_BYTES = 4096 };

/// `block` moved on by the distance that `factors` stands for, added to `next`.
EI_PCLMUL static inline __m128i fold(__m128i block, __m128i factors, __m128i next) {
    const __m128i low = _mm_clmulepi64_si128(block, factors, 0x00);
    const __m128i high = _mm_clmulepi64_si128(block, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

EI_PCLMUL static uint32_t reduce(__m128i block) {
    const __m128i by_64 = _mm_set_epi64x(0, 0x0163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641); // x^64 / P, and P
    const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i low_32 = _mm_set_epi32(0, -1, 0, -1);

    __m128i rest =
        _mm_xor_si128(_mm_srli_si128(block, 8), _mm_clmulepi64_si128(block, by_128, 0x10));
    rest = _mm_xor_si128(_mm_srli_si128(rest, 4),
                         _mm_clmulepi64_si128(_mm_and_si128(rest, low_32), by_64, 0x00));
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(rest, low_32), barrett, 0x10);
    quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_32), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(rest, quotient), 1);
}

EI_PCLMUL uint32_t ei_crc32_pclmul(uint32_t crc, const void *data, size_t bytes) {
    const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i *at = data;
    if (bytes < 64) {
        return ei_crc32_portable(crc, data, bytes);
    }
    __m128i a = _mm_xor_si128(_mm_loadu_si128(at), _mm_cvtsi32_si128((int)~crc));
    __m128i b = _mm_loadu_si128(at + 1);
    __m128i c = _mm_loadu_si128(at + 2);
    __m128i d = _mm_loadu_si128(at + 3);
    at += 4;
    bytes -= 64;
    for (; bytes >= 64; at += 4, bytes -= 64) {
        _mm_prefetch((const char *)((uintptr_t)at + EI_PREFETCH_BYTES), _MM_HINT_T0);
        a = fold(a, by_512, _mm_loadu_si128(at));
        b = fold(b, by_512, _mm_loadu_si128(at + 1));
        c = fold(c, by_512, _mm_loadu_si128(at + 2));
        d = fold(d, by_512, _mm_loadu_si128(at + 3));
    }
    a = fold(a, by_128, b);
    a = fold(a, by_128, c);
    a = fold(a, by_128, d);
    for (; bytes >= 16; at++, bytes -= 16) {
        a = fold(a, by_128, _mm_loadu_si128(at));
    }
    return ei_crc32_portable(~reduce(a), at, bytes);
}

#endif
