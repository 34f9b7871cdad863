/// Vectors of float32, as wide as the instruction set has them. Lane by lane each function is what
/// kernels/float_tile.h says of one float, so that all widths give the same bits.
#ifndef EI_KERNELS_PACKED_GEMM_F32_VECTOR_H
#define EI_KERNELS_PACKED_GEMM_F32_VECTOR_H

#include "kernels/float_tile.h"
#include "kernels/unroll.h"

#if defined(__AVX512F__)
#include <immintrin.h>

#define EI_VECTOR 16
typedef __m512 ei_vector;

EI_ALWAYS_INLINE ei_vector ei_vector_load(const float *x) {
    return _mm512_loadu_ps(x);
}
EI_ALWAYS_INLINE void ei_vector_store(float *y, ei_vector v) {
    _mm512_storeu_ps(y, v);
}
EI_ALWAYS_INLINE ei_vector ei_vector_half(const uint16_t *x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x));
}
EI_ALWAYS_INLINE ei_vector ei_vector_splat(float x) {
    return _mm512_set1_ps(x);
}
EI_ALWAYS_INLINE ei_vector ei_vector_fma(ei_vector a, ei_vector b, ei_vector c) {
    return _mm512_fmadd_ps(a, b, c);
}
EI_ALWAYS_INLINE ei_vector ei_vector_bounded(ei_vector v, ei_bounds_f32 bounds) {
    v = _mm512_max_ps(_mm512_set1_ps(bounds.low), v); // the second where one is a NaN
    v = _mm512_min_ps(_mm512_set1_ps(bounds.high), v);
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q),
                              _mm512_set1_ps(__builtin_nanf("")));
}
EI_ALWAYS_INLINE __mmask16 ei_vector_mask(size_t count) {
    return (__mmask16)(count < 16 ? (1u << count) - 1 : 0xffffu);
}
/// The first `count` lanes of memory, at most all; others are 0, or not stored.
EI_ALWAYS_INLINE ei_vector ei_vector_load_part(const float *x, size_t count) {
    return _mm512_maskz_loadu_ps(ei_vector_mask(count), x);
}
EI_ALWAYS_INLINE void ei_vector_store_part(float *y, ei_vector v, size_t count) {
    _mm512_mask_storeu_ps(y, ei_vector_mask(count), v);
}

#elif defined(__AVX2__)
#include <immintrin.h>

#define EI_VECTOR 8
typedef __m256 ei_vector;

EI_ALWAYS_INLINE ei_vector ei_vector_load(const float *x) {
    return _mm256_loadu_ps(x);
}
EI_ALWAYS_INLINE void ei_vector_store(float *y, ei_vector v) {
    _mm256_storeu_ps(y, v);
}
EI_ALWAYS_INLINE ei_vector ei_vector_half(const uint16_t *x) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
}
EI_ALWAYS_INLINE ei_vector ei_vector_splat(float x) {
    return _mm256_set1_ps(x);
}
EI_ALWAYS_INLINE ei_vector ei_vector_fma(ei_vector a, ei_vector b, ei_vector c) {
    return _mm256_fmadd_ps(a, b, c);
}
EI_ALWAYS_INLINE ei_vector ei_vector_bounded(ei_vector v, ei_bounds_f32 bounds) {
    v = _mm256_max_ps(_mm256_set1_ps(bounds.low), v); // the second where one is a NaN
    v = _mm256_min_ps(_mm256_set1_ps(bounds.high), v);
    return _mm256_blendv_ps(v, _mm256_set1_ps(__builtin_nanf("")),
                            _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}
EI_ALWAYS_INLINE __m256i ei_vector_mask(size_t count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count < 8 ? (int)count : 8), lanes);
}
/// The first `count` lanes of memory, at most all; others are 0, or not stored. Storing under a mask is
/// microcode on some CPUs (AMD's before Zen 4), tens of cycles a vector.
EI_ALWAYS_INLINE ei_vector ei_vector_load_part(const float *x, size_t count) {
    return count >= EI_VECTOR ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, ei_vector_mask(count));
}
EI_ALWAYS_INLINE void ei_vector_store_part(float *y, ei_vector v, size_t count) {
    if (count >= EI_VECTOR) {
        _mm256_storeu_ps(y, v);
    } else if (count > 0) {
        _mm256_maskstore_ps(y, ei_vector_mask(count), v);
    }
}

#elif defined(__aarch64__)
#include <arm_neon.h>

#define EI_VECTOR 4
typedef float32x4_t ei_vector;

EI_ALWAYS_INLINE ei_vector ei_vector_load(const float *x) {
    return vld1q_f32(x);
}
EI_ALWAYS_INLINE void ei_vector_store(float *y, ei_vector v) {
    vst1q_f32(y, v);
}
EI_ALWAYS_INLINE ei_vector ei_vector_half(const uint16_t *x) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x)));
}
EI_ALWAYS_INLINE ei_vector ei_vector_splat(float x) {
    return vdupq_n_f32(x);
}
EI_ALWAYS_INLINE ei_vector ei_vector_fma(ei_vector a, ei_vector b, ei_vector c) {
    return vfmaq_f32(c, a, b);
}
EI_ALWAYS_INLINE ei_vector ei_vector_bounded(ei_vector v, ei_bounds_f32 bounds) {
    const ei_vector low = vdupq_n_f32(bounds.low);
    const ei_vector high = vdupq_n_f32(bounds.high);
    v = vbslq_f32(vcgtq_f32(low, v), low, v);
    v = vbslq_f32(vcltq_f32(high, v), high, v);
    return vbslq_f32(vceqq_f32(v, v), v, vdupq_n_f32(__builtin_nanf("")));
}
/// The first `count` lanes of memory, at most all; others are 0, or not stored.
EI_ALWAYS_INLINE ei_vector ei_vector_load_part(const float *x, size_t count) {
    if (count >= EI_VECTOR) {
        return vld1q_f32(x);
    }
    float lanes[EI_VECTOR] = {0};
    for (size_t i = 0; i < count; i++) {
        lanes[i] = x[i];
    }
    return vld1q_f32(lanes);
}
EI_ALWAYS_INLINE void ei_vector_store_part(float *y, ei_vector v, size_t count) {
    if (count >= EI_VECTOR) {
        vst1q_f32(y, v);
        return;
    }
    float lanes[EI_VECTOR];
    vst1q_f32(lanes, v);
    for (size_t i = 0; i < count; i++) {
        y[i] = lanes[i];
    }
}
#endif

/// Vectors of a tile of 16 channels.
#define EI_TILE_VECTORS (EI_TILE_CHANNELS / EI_VECTOR)

EI_ALWAYS_INLINE size_t ei_lanes_left(size_t count, size_t first) {
    return count > first ? count - first : 0;
}

#endif
