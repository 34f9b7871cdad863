// vpdpbusd on 512 bits, 16 channels at a time. Weights become unsigned, w + 128; what that adds, 128 *
// sum(x), is the same for all channels of a row, and sums begin with its negative.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/unroll.h"

enum { ROWS = 8, AHEAD = 2048 };

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

/// MR rows x 16 channels.
EI_ALWAYS_INLINE void compute(const ei_packed_gemm_s8_f4_args *args, const uint8_t *w, size_t row,
                              const int32_t *corrections, float *sums, const int MR) {
    const __m512i top = _mm512_set1_epi8((char)0x80);
    const int8_t *x = args->x + row * args->x_step;
    sums += row * args->sum_step;
    __m512i acc[ROWS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        acc[m] = _mm512_set1_epi32(-corrections[row + (size_t)m]);
    }
    for (size_t block = 0; block < args->blocks; block++) {
        if (MR == 1) {
            _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        }
        const __m512i weights = _mm512_xor_si512(_mm512_loadu_si512(w), top);
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            acc[m] = _mm512_dpbusd_epi32(acc[m], weights, load_four(x + (size_t)m * args->x_step));
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        float *sum = sums + (size_t)m * args->sum_step;
        _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), _mm512_cvtepi32_ps(acc[m])));
    }
}

void ei_packed_gemm_s8_s8c_avx512vnni(const ei_packed_gemm_s8_f4_args *args) {
    int32_t corrections[EI_F4_MOST_ROWS]; // of rows that are in the buffer together
    for (size_t row = 0; row < args->rows; row++) {
        corrections[row] = find_correction(args->x + row * args->x_step, args->blocks * EI_TILE_K);
    }
    for (size_t tile = 0; tile < args->tiles; tile++) {
        const uint8_t *w = args->weights + tile * args->tile_bytes;
        float *sums = args->sums + tile * EI_TILE_CHANNELS;
        size_t row = 0;
        for (; row + ROWS <= args->rows; row += ROWS) {
            compute(args, w, row, corrections, sums, ROWS);
        }
        for (; row < args->rows; row++) {
            compute(args, w, row, corrections, sums, 1);
        }
    }
}
