// vpdpbusd on 256 bits, 8 channels at a time. Weights become unsigned, w + 128; what that adds, 128 *
// sum(x), is the same for all channels of a row, and sums begin with its negative. Tiles are 4 rows x 16
// channels, 8 sums that need not wait for one another; one row takes 32 channels.
#include <immintrin.h>
#include <string.h>

#include "kernels/dot_avxvnni.h"
#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c_tile.h"
#include "kernels/unroll.h"

enum { ROWS = 4, MOST_SUMS = 8, AHEAD = 1024 };

/// 128 * sum(x) of a row.
static int32_t find_correction(const int8_t *x, size_t values) {
    const __m256i top = _mm256_set1_epi8((char)0x80);
    __m256i sum = _mm256_setzero_si256();
    size_t k = 0;
    for (; k + 32 <= values; k += 32) {
        sum = ei_dot_avxvnni(sum, top, _mm256_loadu_si256((const __m256i *)(x + k)));
    }
    int32_t lanes[8], total = 0;
    _mm256_storeu_si256((__m256i *)lanes, sum);
    for (int i = 0; i < 8; i++) {
        total += lanes[i];
    }
    for (; k < values; k++) {
        total += 128 * x[k];
    }
    return total;
}

/// MR rows x 16 * NT channels.
EI_ALWAYS_INLINE void compute(const ei_s8c_tile *tile, const int MR, const int NT) {
    const __m256i top = _mm256_set1_epi8((char)0x80);
    const uint8_t *w = tile->weights;
    const int8_t *x = tile->x;
    __m256i acc[MOST_SUMS];
    EI_UNROLL
    for (int i = 0; i < 2 * MR * NT; i++) {
        acc[i] = _mm256_set1_epi32(-tile->corrections[i / (2 * NT)]);
    }
    for (size_t block = tile->blocks; block > 0; block--) {
        EI_UNROLL
        for (int h = 0; h < 2 * NT; h++) {
            const uint8_t *from = w + (size_t)(h / 2) * tile->tile_bytes + 32 * (h % 2);
            if (h % 2 == 0) {
                _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
            }
            const __m256i weights =
                _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)from), top);
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                int32_t four;
                memcpy(&four, x + (size_t)m * tile->x_step, sizeof four);
                __m256i *sum = &acc[2 * NT * m + h];
                *sum = ei_dot_avxvnni(*sum, weights, _mm256_set1_epi32(four));
            }
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int i = 0; i < 2 * MR * NT; i++) {
        float *sum = tile->sums + (size_t)(i / (2 * NT)) * tile->sum_step + 8 * (i % (2 * NT));
        const __m256 total = _mm256_cvtepi32_ps(acc[i]);
        _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), total));
    }
}

EI_NOINLINE void s8c_4x16(const ei_s8c_tile *tile) {
    compute(tile, ROWS, 1);
}

EI_NOINLINE void s8c_1x32(const ei_s8c_tile *tile) {
    compute(tile, 1, 2);
}

EI_NOINLINE void s8c_1x16(const ei_s8c_tile *tile) {
    compute(tile, 1, 1);
}

void ei_packed_gemm_s8_s8c_avxvnni(const ei_packed_gemm_s8_f4_args *args) {
    int32_t corrections[EI_F4_MOST_ROWS]; // of rows that are in the buffer together
    for (size_t row = 0; row < args->rows; row++) {
        corrections[row] = find_correction(args->x + row * args->x_step, args->blocks * EI_TILE_K);
    }
    size_t tiles = 0;
    for (size_t t = 0; t < args->tiles; t += tiles) {
        tiles = args->rows == 1 && args->tiles - t >= 2 ? 2 : 1;
        size_t taken = 0;
        for (size_t row = 0; row < args->rows; row += taken) {
            const ei_s8c_tile tile = {.x = args->x + row * args->x_step,
                                      .x_step = args->x_step,
                                      .blocks = args->blocks,
                                      .weights = args->weights + t * args->tile_bytes,
                                      .tile_bytes = args->tile_bytes,
                                      .sums =
                                          args->sums + row * args->sum_step + t * EI_TILE_CHANNELS,
                                      .sum_step = args->sum_step,
                                      .corrections = corrections + row};
            taken = args->rows - row >= ROWS ? ROWS : 1;
            (tiles == 2 ? s8c_1x32 : taken == ROWS ? s8c_4x16 : s8c_1x16)(&tile);
        }
    }
}
