// vpmaddwd: sums of two products of int16. AVX2's product of bytes saturates pairs (255 * 127 * 2 is
// no int16), so patches hold int16 and weights are widened as they are loaded: 16 bytes are four
// values of four output channels,
//
//     acc[c] += | x0*w(4c,0) + x1*w(4c,1) | x2*w(4c,2) + x3*w(4c,3) | x0*w(4c+1,0) + ... |
//
// so that each channel has two sums, which are added at the end. Four such registers are 16
// channels; tiles of 2 pixels keep 8 sums in registers.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm/packed_gemm.h"
#include "kernels/packed_tile.h"
#include "kernels/requantize_avx2.h"
#include "kernels/unroll.h"

enum { PIXELS = 2, QUADS = 4 };

static inline __m256i load_wide(const int8_t *from) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from));
}

static inline __m256i load_four(const uint8_t *x) {
    int64_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi64x(four);
}

/// Channels 0 .. 7 from the pairs of sums of channels 0 .. 3 and 4 .. 7.
static inline __m256i add_pairs(__m256i low, __m256i high) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
}

typedef struct ei_gemm_tile {
    const ei_packed_gemm_args *args;
    const int8_t *weights;
    const int32_t *bias;
    const float *multiplier;
    size_t offset; // bytes from the first pixel to this tile's, in a patch
    int8_t *y;
    size_t channels; // to store
    ei_requant_avx2 requant;
} ei_gemm_tile;

/// MR pixels x 16 channels.
EI_ALWAYS_INLINE void compute(const ei_gemm_tile *tile, const int MR) {
    const ei_packed_gemm_args *args = tile->args;
    const size_t step = args->pixel_step;
    const int8_t *w = tile->weights;
    __m256i acc[PIXELS][QUADS];
    EI_UNROLL
    for (int c = 0; c < QUADS; c++) {
        acc[0][c] = acc[1][c] = _mm256_setzero_si256();
    }
    for (size_t s = 0; s < args->segment_count; s++) {
        const uint8_t *x = args->segments[s] + tile->offset;
        for (size_t group = args->groups; group > 0; group--) {
            const __m256i x0 = load_four(x);
            const __m256i x1 = MR > 1 ? load_four(x + step) : x0;
            EI_UNROLL
            for (int c = 0; c < QUADS; c++) {
                const __m256i wide = load_wide(w + 16 * c);
                acc[0][c] = _mm256_add_epi32(acc[0][c], _mm256_madd_epi16(x0, wide));
                if (MR > 1) {
                    acc[1][c] = _mm256_add_epi32(acc[1][c], _mm256_madd_epi16(x1, wide));
                }
            }
            x += EI_TILE_K * sizeof(int16_t);
            w += EI_TILE_BYTES;
        }
    }
    const ei_requant_avx2 *q = &tile->requant;
    __m256i scaled[PIXELS][2];
    EI_UNROLL
    for (int i = 0; i < 2 * PIXELS; i++) {
        const int m = i / 2, half = i % 2;
        const __m256i bias = _mm256_loadu_si256((const __m256i *)(tile->bias + 8 * half));
        const __m256i sum = add_pairs(acc[m][2 * half], acc[m][2 * half + 1]);
        scaled[m][half] = ei_scale_avx2(_mm256_add_epi32(bias, sum),
                                        _mm256_loadu_ps(tile->multiplier + 8 * half), q);
    }
    const __m256i bytes = ei_pack_avx2(scaled[0][0], scaled[0][1], scaled[1][0], scaled[1][1], q);
    ei_store_channels_sse(tile->y, _mm256_castsi256_si128(bytes), tile->channels);
    if (MR > 1) {
        ei_store_channels_sse(tile->y + args->y_step, _mm256_extracti128_si256(bytes, 1),
                              tile->channels);
    }
}

static void multiply(const ei_packed_gemm_args *args) {
    ei_gemm_tile tile = {.args = args,
                         .weights = args->weights,
                         .bias = args->bias,
                         .multiplier = args->multiplier,
                         .requant = ei_requant_avx2_of(&args->requant)};
    for (size_t first = 0; first < args->channels; first += EI_TILE_CHANNELS) {
        const size_t left = args->channels - first;
        tile.channels = left < EI_TILE_CHANNELS ? left : EI_TILE_CHANNELS;
        tile.offset = 0;
        tile.y = args->y + first;
        for (size_t rest = args->pixels; rest > 0;) {
            if (rest == 1) {
                compute(&tile, 1);
                break;
            }
            compute(&tile, PIXELS);
            tile.offset += PIXELS * args->pixel_step;
            tile.y += PIXELS * args->y_step;
            rest -= PIXELS;
        }
        tile.weights += args->tile_bytes;
        tile.bias += EI_TILE_CHANNELS;
        tile.multiplier += EI_TILE_CHANNELS;
    }
}

static void copy_bias(int32_t *out, const int32_t *bias, const int8_t *weights, size_t tiles,
                      size_t tile_bytes) {
    (void)weights;
    (void)tile_bytes;
    memcpy(out, bias, tiles * EI_TILE_CHANNELS * sizeof *out);
}

static void copy_wide(uint8_t *out, const int8_t *x, size_t count) {
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        _mm256_storeu_si256((__m256i *)(out + 2 * i), load_wide(x + i));
    }
    for (; i < count; i++) {
        const int16_t wide = x[i];
        memcpy(out + 2 * i, &wide, sizeof wide);
    }
}

const ei_packed_gemm ei_packed_gemm_avx2 = {.value_bytes = 2,
                                            .tile_pixels = PIXELS,
                                            .copy = copy_wide,
                                            .bias = copy_bias,
                                            .multiply = multiply};
