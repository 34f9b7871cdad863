// vpmaddwd on registers of 32 bytes from planes of interleaved rows, as int16: of four rows a, b, c, d
// two planes of pairs a b and two of pairs c d. Of 16 flat bytes the first plane has 0..3 and 8..11,
// the second 4..7 and 12..15, which packs of the sums put in order.
#include <immintrin.h>

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_planes.h"
#include "kernels/unroll.h"

#define VALUE_BYTES 2
#define DEAL        2

/// 16 flat bytes of two rows.
EI_ALWAYS_INLINE void interleave_pair(uint8_t *out, size_t pitch, __m128i a, __m128i b) {
    const __m256i wide_a = _mm256_cvtepi8_epi16(a), wide_b = _mm256_cvtepi8_epi16(b);
    _mm256_storeu_si256((__m256i *)out, _mm256_unpacklo_epi16(wide_a, wide_b));
    _mm256_storeu_si256((__m256i *)(out + pitch), _mm256_unpackhi_epi16(wide_a, wide_b));
}

EI_ALWAYS_INLINE void interleave_unit(uint8_t *out, const ei_depthwise_block *block,
                                      const __m256i x[4]) {
    const size_t pitch = block->pitch;
    EI_UNROLL
    for (int i = 0; i < 4; i += 2) {
        interleave_pair(out, pitch, _mm256_castsi256_si128(x[i]), _mm256_castsi256_si128(x[i + 1]));
        interleave_pair(out + 32, pitch, _mm256_extracti128_si256(x[i], 1),
                        _mm256_extracti128_si256(x[i + 1], 1));
        out += 2 * pitch;
    }
}

EI_ALWAYS_INLINE void add_quad(__m256i acc[][4], const uint8_t *x, size_t step, size_t pitch,
                               const uint8_t *w, const int COUNT) {
    EI_UNROLL
    for (int pair = 0; pair < 2; pair++) {
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            const __m256i weights = _mm256_load_si256((const __m256i *)(const void *)w + i);
            EI_UNROLL
            for (int u = 0; u < COUNT; u++) {
                const uint8_t *plane = x + (size_t)u * step + (size_t)(i % 2) * pitch + i / 2 * 32;
                const __m256i values = _mm256_loadu_si256((const __m256i *)plane);
                acc[u][i] = _mm256_add_epi32(acc[u][i], _mm256_madd_epi16(values, weights));
            }
        }
        x += 2 * pitch;
        w += 128;
    }
}

/// Registers 0 and 1 are of the first 16 flat bytes, 2 and 3 of the others.
static inline size_t place_of(size_t chunk) {
    return (chunk / 4 * 2 + chunk % 2) * 32 + chunk % 4 / 2 * 16;
}

static inline void deal_quad(uint8_t *table, size_t chunk, const uint8_t *taps) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)taps));
    const __m256i pairs =
        _mm256_permutevar8x32_epi32(wide, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    uint8_t *out = table + place_of(chunk);
    _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(pairs));
    _mm_storeu_si128((__m128i *)(out + 128), _mm256_extracti128_si256(pairs, 1));
}

static inline __m256i in_order(__m256i bytes) {
    return _mm256_permute4x64_epi64(bytes, 0xd8);
}

static inline __m256i start_of(const int32_t *bias, const int8_t *w, size_t tile_bytes) {
    (void)w;
    (void)tile_bytes;
    return _mm256_loadu_si256((const __m256i *)bias);
}

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_ymm.h"

void ei_depthwise_conv2d_s8_s8c_avx2(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                     uint32_t end) {
    ei_depthwise_conv2d_s8_s8c_by_planes(&tier, args, begin, end);
}
