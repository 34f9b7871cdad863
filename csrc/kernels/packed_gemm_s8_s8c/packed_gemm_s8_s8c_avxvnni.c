// vpdpbusd on 256 bits: the weights' magnitudes are the unsigned bytes, at most 128, and their signs go to x.
// Otherwise as packed_gemm_s8_s8c_avx2.c, with tiles of 4 rows x 16 channels.
#include <immintrin.h>
#include <string.h>

#include "kernels/dot_avxvnni.h"
#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/unroll.h"

enum { ROWS = 4, HALVES = 2, AHEAD = 1024 };

/// MR rows x 16 channels.
EI_ALWAYS_INLINE void compute(const ei_packed_gemm_s8_f4_args *args, const uint8_t *w,
                              const int8_t *x, float *sums, const int MR) {
    __m256i acc[ROWS][HALVES];
    EI_UNROLL
    for (int i = 0; i < MR * HALVES; i++) {
        acc[i / HALVES][i % HALVES] = _mm256_setzero_si256();
    }
    for (size_t block = args->blocks; block > 0; block--) {
        if (MR == 1) {
            _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        }
        EI_UNROLL
        for (int h = 0; h < HALVES; h++) {
            const __m256i weights = _mm256_loadu_si256((const __m256i *)(w + 32 * h));
            const __m256i magnitudes = _mm256_abs_epi8(weights);
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                int32_t four;
                memcpy(&four, x + (size_t)m * args->x_step, sizeof four);
                const __m256i signed_x = _mm256_sign_epi8(_mm256_set1_epi32(four), weights);
                acc[m][h] = ei_dot_avxvnni(acc[m][h], magnitudes, signed_x);
            }
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int i = 0; i < MR * HALVES; i++) {
        float *sum = sums + (size_t)(i / HALVES) * args->sum_step + 8 * (i % HALVES);
        const __m256 total = _mm256_cvtepi32_ps(acc[i / HALVES][i % HALVES]);
        _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), total));
    }
}

void ei_packed_gemm_s8_s8c_avxvnni(const ei_packed_gemm_s8_f4_args *args) {
    for (size_t tile = 0; tile < args->tiles; tile++) {
        const uint8_t *w = args->weights + tile * args->tile_bytes;
        const int8_t *x = args->x;
        float *sums = args->sums + tile * EI_TILE_CHANNELS;
        size_t row = 0;
        for (; row + ROWS <= args->rows; row += ROWS) {
            compute(args, w, x + row * args->x_step, sums + row * args->sum_step, ROWS);
        }
        for (; row < args->rows; row++) {
            compute(args, w, x + row * args->x_step, sums + row * args->sum_step, 1);
        }
    }
}
