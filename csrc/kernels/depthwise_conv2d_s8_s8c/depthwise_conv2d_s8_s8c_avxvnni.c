// vpdpbusd on registers of 32 bytes from planes of four interleaved rows, as x + 128: as
// depthwise_conv2d_s8_s8c_avx512vnni.c, with two lanes to a register.
#include <immintrin.h>

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_planes.h"
#include "kernels/unroll.h"

// As in packed_gemm_avxvnni.c.
#if EI_AVXVNNI_AS_EVEX
#define VPDPBUSD "vpdpbusd"
#else
#define VPDPBUSD "%{vex%} vpdpbusd"
#endif

#define VALUE_BYTES 1
#define DEAL        4

/// acc += x . w, x being unsigned.
EI_ALWAYS_INLINE void add_products(__m256i *acc, __m256i x, __m256i w) {
    __asm__(VPDPBUSD " %2, %1, %0" : "+x"(*acc) : "x"(x), "x"(w));
}

EI_ALWAYS_INLINE void interleave_unit(uint8_t *out, const ei_depthwise_block *block,
                                      const __m256i x[4]) {
    const size_t pitch = block->pitch;
    const __m256i sign = _mm256_set1_epi8((char)128);
    const __m256i a = _mm256_xor_si256(x[0], sign), b = _mm256_xor_si256(x[1], sign);
    const __m256i c = _mm256_xor_si256(x[2], sign), d = _mm256_xor_si256(x[3], sign);
    const __m256i ab_low = _mm256_unpacklo_epi8(a, b), ab_high = _mm256_unpackhi_epi8(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi8(c, d), cd_high = _mm256_unpackhi_epi8(c, d);
    const __m256i planes[4] = {
        _mm256_unpacklo_epi16(ab_low, cd_low), _mm256_unpackhi_epi16(ab_low, cd_low),
        _mm256_unpacklo_epi16(ab_high, cd_high), _mm256_unpackhi_epi16(ab_high, cd_high)};
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_si256((__m256i *)out, planes[i]);
        out += pitch;
    }
    if (block->rotated) {
        _mm256_storeu_si256((__m256i *)(out - 16), planes[0]);
        _mm256_storeu_si256((__m256i *)(out + pitch - 16), planes[1]);
    }
}

EI_ALWAYS_INLINE void add_quad(__m256i acc[][4], const uint8_t *x, size_t step, size_t pitch,
                               const uint8_t *w, const int COUNT) {
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        const __m256i weights = _mm256_load_si256((const __m256i *)(const void *)w + i);
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            const uint8_t *plane = x + (size_t)u * step;
            add_products(&acc[u][i], _mm256_loadu_si256((const __m256i *)plane), weights);
        }
        x += pitch;
    }
}

/// Register i has in lane j the flat bytes 16 * j + 4 * i + 0 .. 3.
static inline size_t place_of(size_t chunk) {
    return chunk % 4 * 32 + chunk / 4 * 16;
}

static inline void deal_quad(uint8_t *table, size_t chunk, const uint8_t *taps) {
    _mm_storeu_si128((__m128i *)(table + place_of(chunk)), _mm_loadu_si128((const __m128i *)taps));
}

static inline __m256i in_order(__m256i bytes) {
    return bytes;
}

/// bias - 128 * sum of weights, to make up for x + 128.
static inline __m256i start_of(const int32_t *bias, const int8_t *w, size_t tile_bytes) {
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < tile_bytes; i += 64) {
        add_products(&sum, _mm256_set1_epi8((char)128),
                     _mm256_loadu_si256((const __m256i *)(w + i)));
    }
    return _mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)bias), sum);
}

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_ymm.h"

void ei_depthwise_conv2d_s8_s8c_avxvnni(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                        uint32_t end) {
    ei_depthwise_conv2d_s8_s8c_by_planes(&tier, args, begin, end);
}
