/// Vectors of float32, as wide as the instruction set that a file is compiled for has them: kernels of
/// float32 are written once with them, and each tier includes the same functions. Lane by lane, every
/// function here is one IEEE operation or an exact one, so that all widths give the same bits.
///
/// Only the tiers scalar (on ARM's 64 bit that is NEON), avx2 and avx512vnni include this. 32-bit NEON
/// would flush subnormal numbers to zero.
#ifndef EI_KERNELS_VECTOR_F32_H
#define EI_KERNELS_VECTOR_F32_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/exact_fma.h"
#include "kernels/unroll.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define EI_LANES 16
#elif defined(__AVX2__)
#define EI_LANES 8
#else
#define EI_LANES 4
#endif

typedef float ei_f32v __attribute__((vector_size(4 * EI_LANES)));
typedef int32_t ei_s32v __attribute__((vector_size(4 * EI_LANES)));
#if defined(__AVX512F__)
typedef __mmask16 ei_mask;
#else
typedef ei_s32v ei_mask; // all ones or zero
#endif

EI_ALWAYS_INLINE ei_f32v ei_splat(float x) {
    return x - (ei_f32v){0};
}
EI_ALWAYS_INLINE ei_s32v ei_bits(ei_f32v x) {
    return (ei_s32v)x;
}
EI_ALWAYS_INLINE ei_f32v ei_from_bits(ei_s32v x) {
    return (ei_f32v)x;
}
EI_ALWAYS_INLINE ei_f32v ei_absolute(ei_f32v x) {
    return (ei_f32v)((ei_s32v)x & 0x7fffffff);
}
/// The magnitude of x, which has no sign bit, with the sign of `sign`.
EI_ALWAYS_INLINE ei_f32v ei_with_sign(ei_f32v x, ei_f32v sign) {
    return (ei_f32v)((ei_s32v)x | ((ei_s32v)sign & (int32_t)0x80000000));
}

// --- comparisons: false for a NaN
#if defined(__AVX512F__)
EI_ALWAYS_INLINE ei_mask ei_less(ei_f32v a, ei_f32v b) {
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
EI_ALWAYS_INLINE ei_mask ei_is_nan(ei_f32v a) {
    return _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q);
}
EI_ALWAYS_INLINE ei_f32v ei_select(ei_mask mask, ei_f32v a, ei_f32v b) {
    return (ei_f32v)_mm512_mask_blend_ps(mask, (__m512)b, (__m512)a);
}
/// +0 in those lanes.
EI_ALWAYS_INLINE ei_f32v ei_zero_where(ei_mask mask, ei_f32v v) {
    return (ei_f32v)_mm512_maskz_mov_ps((__mmask16)~mask, (__m512)v);
}
#else
EI_ALWAYS_INLINE ei_f32v ei_zero_where(ei_mask mask, ei_f32v v) {
    return (ei_f32v)((ei_s32v)v & ~mask);
}
EI_ALWAYS_INLINE ei_mask ei_less(ei_f32v a, ei_f32v b) {
    return a < b;
}
EI_ALWAYS_INLINE ei_mask ei_is_nan(ei_f32v a) {
    return a != a;
}
EI_ALWAYS_INLINE ei_f32v ei_select(ei_mask mask, ei_f32v a, ei_f32v b) {
#if defined(__AVX2__)
    return (ei_f32v)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#else
    return (ei_f32v)(((ei_s32v)a & mask) | ((ei_s32v)b & ~mask));
#endif
}
#endif

/// Whether all lanes are.
EI_ALWAYS_INLINE int ei_all(ei_mask mask) {
#if defined(__AVX512F__)
    return mask == 0xffff;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)mask) == 0xff;
#elif defined(__aarch64__)
    return vminvq_u32((uint32x4_t)mask) != 0;
#else
    return (mask[0] & mask[1] & mask[2] & mask[3]) != 0;
#endif
}

/// a > b ? a : b, so b where one is a NaN and where both are zero.
EI_ALWAYS_INLINE ei_f32v ei_larger(ei_f32v a, ei_f32v b) {
#if defined(__AVX512F__)
    return (ei_f32v)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (ei_f32v)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return ei_select(a > b, a, b);
#endif
}
/// a < b ? a : b
EI_ALWAYS_INLINE ei_f32v ei_smaller(ei_f32v a, ei_f32v b) {
#if defined(__AVX512F__)
    return (ei_f32v)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (ei_f32v)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return ei_select(a < b, a, b);
#endif
}

#if !EI_HAS_FMA && !defined(__AVX512F__)
__attribute__((noinline, unused)) static ei_f32v ei_fma_by_lanes(ei_f32v a, ei_f32v b, ei_f32v c) {
    for (int i = 0; i < EI_LANES; i++) {
        a[i] = ei_exact_fma(a[i], b[i], c[i]);
    }
    return a;
}
#endif

/// a * b + c, rounded once.
EI_ALWAYS_INLINE ei_f32v ei_fma(ei_f32v a, ei_f32v b, ei_f32v c) {
#if defined(__AVX512F__)
    return (ei_f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (ei_f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (ei_f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif EI_HAS_FMA
    for (int i = 0; i < EI_LANES; i++) {
        a[i] = ei_exact_fma(a[i], b[i], c[i]);
    }
    return a;
#else
    return ei_fma_by_lanes(a, b, c);
#endif
}
/// The larger one, or the NaN that one of them is; b of two zeros.
EI_ALWAYS_INLINE ei_f32v ei_maximum(ei_f32v a, ei_f32v b) {
    return ei_select(ei_is_nan(a), a, ei_larger(a, b));
}
EI_ALWAYS_INLINE ei_f32v ei_minimum(ei_f32v a, ei_f32v b) {
    return ei_select(ei_is_nan(a), a, ei_smaller(a, b));
}

/// a * b + c with a constant c.
EI_ALWAYS_INLINE ei_f32v ei_fma1(ei_f32v a, ei_f32v b, float c) {
    return ei_fma(a, b, ei_splat(c));
}

EI_ALWAYS_INLINE ei_f32v ei_square_root(ei_f32v x) {
#if defined(__AVX512F__)
    return (ei_f32v)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
    return (ei_f32v)_mm256_sqrt_ps((__m256)x);
#elif defined(__aarch64__)
    return (ei_f32v)vsqrtq_f32((float32x4_t)x);
#else
    for (int i = 0; i < EI_LANES; i++) {
        x[i] = __builtin_sqrtf(x[i]);
    }
    return x;
#endif
}

EI_ALWAYS_INLINE ei_f32v ei_load(const float *x) {
    ei_f32v v;
    memcpy(&v, x, sizeof v);
    return v;
}
EI_ALWAYS_INLINE void ei_store(float *y, ei_f32v v) {
    memcpy(y, &v, sizeof v);
}

#if defined(__AVX512F__)
EI_ALWAYS_INLINE ei_f32v ei_load_few(const float *x, size_t count, float rest) {
    const __mmask16 mask = (__mmask16)((1u << count) - 1);
    return (ei_f32v)_mm512_mask_loadu_ps(_mm512_set1_ps(rest), mask, x);
}
EI_ALWAYS_INLINE void ei_store_few(float *y, size_t count, ei_f32v v) {
    _mm512_mask_storeu_ps(y, (__mmask16)((1u << count) - 1), (__m512)v);
}
#else
// Not inlined: a vector whose address is taken would live in memory in the loops around it.
__attribute__((noinline, unused)) static ei_f32v ei_load_few(const float *x, size_t count,
                                                             float rest) {
    ei_f32v v = ei_splat(rest);
    memcpy(&v, x, count * sizeof(float));
    return v;
}
__attribute__((noinline, unused)) static void ei_store_few(float *y, size_t count, ei_f32v v) {
    memcpy(y, &v, count * sizeof(float));
}
#endif

/// The first `count` lanes from x, the others `rest`; all of them where count is larger.
EI_ALWAYS_INLINE ei_f32v ei_load_or(const float *x, size_t count, float rest) {
    return count >= EI_LANES ? ei_load(x) : ei_load_few(x, count, rest);
}
/// The first `count` lanes, or all.
EI_ALWAYS_INLINE void ei_store_part(float *y, size_t count, ei_f32v v) {
    if (count >= EI_LANES) {
        ei_store(y, v);
    } else {
        ei_store_few(y, count, v);
    }
}

/// Every NaN becomes the one that float32 arithmetic stores: CPUs differ in signs and payloads.
EI_ALWAYS_INLINE ei_f32v ei_canonical(ei_f32v y) {
    return ei_select(ei_is_nan(y), ei_splat(__builtin_nanf("")), y);
}
/// What is stored: y within [low, high], a NaN being neither below nor above.
EI_ALWAYS_INLINE ei_f32v ei_clamped(ei_f32v y, float low, float high) {
    return ei_canonical(ei_smaller(ei_splat(high), ei_larger(ei_splat(low), y)));
}

/// One of 16 interleaved partial results: lane i of them is made of the elements i mod 16.
#define EI_PARTS (16 / EI_LANES)

// Halves of what the 16 parts are, whatever the width of ei_f32v.
typedef float ei_f32x8 __attribute__((vector_size(32)));
typedef float ei_f32x4 __attribute__((vector_size(16)));

/// l[i] + l[i + 8], then i + 4, i + 2, i + 1.
EI_ALWAYS_INLINE float ei_sum_parts(const ei_f32v parts[EI_PARTS]) {
    ei_f32x8 eights[2];
    memcpy(eights, parts, sizeof eights);
    eights[0] += eights[1];
    ei_f32x4 fours[2];
    memcpy(fours, eights, sizeof fours);
    const ei_f32x4 l = fours[0] + fours[1];
    return (l[0] + l[2]) + (l[1] + l[3]);
}

#endif
