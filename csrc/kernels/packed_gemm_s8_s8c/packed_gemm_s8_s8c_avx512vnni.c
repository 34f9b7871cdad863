// vpdpbusd on 512 bits, 16 channels at a time. Weights become unsigned, w + 128; what that adds, 128 *
// sum(x), is the same for all channels of a row, and sums begin with its negative. Tiles are 8 rows x 32
// channels: a row's values are loaded once for two products, Zen 4 having one load of 512 bits for each.
// One row takes 64 channels, four sums that need not wait for one another.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c_tile.h"
#include "kernels/unroll.h"

enum { MOST_SUMS = 16, AHEAD = 1024 };

static inline __m512i load_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/// 128 * sum(x) of a row.
static int32_t find_correction(const int8_t *x, size_t values) {
    const __m512i top = _mm512_set1_epi8((char)0x80);
    __m512i sum = _mm512_setzero_si512();
    size_t k = 0;
    for (; k + 64 <= values; k += 64) {
        sum = _mm512_dpbusd_epi32(sum, top, _mm512_loadu_si512(x + k));
    }
    int32_t rest = 0;
    for (; k < values; k++) {
        rest += 128 * x[k];
    }
    return _mm512_reduce_add_epi32(sum) + rest;
}

/// MR rows x 16 * NT channels.
EI_ALWAYS_INLINE void compute(const ei_s8c_tile *tile, const int MR, const int NT) {
    const __m512i top = _mm512_set1_epi8((char)0x80);
    const size_t step = tile->x_step, tile_bytes = tile->tile_bytes;
    const uint8_t *w = tile->weights;
    const int8_t *x = tile->x;
    __m512i acc[MOST_SUMS];
    EI_UNROLL
    for (int i = 0; i < MR * NT; i++) {
        acc[i] = _mm512_set1_epi32(-tile->corrections[i / NT]);
    }
    for (size_t block = tile->blocks; block > 0; block--) {
        __m512i weights[4];
        EI_UNROLL
        for (int t = 0; t < NT; t++) {
            const uint8_t *from = w + (size_t)t * tile_bytes;
            _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
            weights[t] = _mm512_xor_si512(_mm512_loadu_si512(from), top);
        }
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            const __m512i four = load_four(x + (size_t)m * step);
            EI_UNROLL
            for (int t = 0; t < NT; t++) {
                acc[m * NT + t] = _mm512_dpbusd_epi32(acc[m * NT + t], weights[t], four);
            }
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int i = 0; i < MR * NT; i++) {
        float *sum = tile->sums + i / NT * tile->sum_step + 16 * (i % NT);
        _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), _mm512_cvtepi32_ps(acc[i])));
    }
}

EI_NOINLINE void s8c_8x32(const ei_s8c_tile *tile) {
    compute(tile, 8, 2);
}

EI_NOINLINE void s8c_4x32(const ei_s8c_tile *tile) {
    compute(tile, 4, 2);
}

EI_NOINLINE void s8c_1x64(const ei_s8c_tile *tile) {
    compute(tile, 1, 4);
}

EI_NOINLINE void s8c_8x16(const ei_s8c_tile *tile) {
    compute(tile, 8, 1);
}

EI_NOINLINE void s8c_1x16(const ei_s8c_tile *tile) {
    compute(tile, 1, 1);
}

/// All rows of up to four tiles; the number of tiles.
static size_t multiply_rows(const ei_packed_gemm_s8_f4_args *args, size_t t,
                            const int32_t *corrections) {
    const size_t left_tiles = args->tiles - t;
    const size_t tiles = args->rows == 1 && left_tiles >= 4 ? 4 : (left_tiles >= 2 ? 2 : 1);
    size_t taken = 0;
    for (size_t row = 0; row < args->rows; row += taken) {
        const size_t left = args->rows - row;
        ei_s8c_tile tile = {.x = args->x + row * args->x_step,
                            .x_step = args->x_step,
                            .blocks = args->blocks,
                            .weights = args->weights + t * args->tile_bytes,
                            .tile_bytes = args->tile_bytes,
                            .sums = args->sums + row * args->sum_step + t * EI_TILE_CHANNELS,
                            .sum_step = args->sum_step,
                            .corrections = corrections + row};
        taken = left >= 8 ? 8 : (left >= 4 && tiles == 2 ? 4 : 1);
        if (tiles == 4) {
            s8c_1x64(&tile);
        } else if (taken > 1) {
            (taken == 4 ? s8c_4x32 : tiles == 2 ? s8c_8x32 : s8c_8x16)(&tile);
        } else {
            for (size_t i = 0; i < tiles; i++) {
                s8c_1x16(&tile);
                tile.weights += args->tile_bytes;
                tile.sums += EI_TILE_CHANNELS;
            }
        }
    }
    return tiles;
}

void ei_packed_gemm_s8_s8c_avx512vnni(const ei_packed_gemm_s8_f4_args *args) {
    int32_t corrections[EI_F4_MOST_ROWS]; // of rows that are in the buffer together
    for (size_t row = 0; row < args->rows; row++) {
        corrections[row] = find_correction(args->x + row * args->x_step, args->blocks * EI_TILE_K);
    }
    for (size_t t = 0; t < args->tiles;) {
        t += multiply_rows(args, t, corrections);
    }
}
