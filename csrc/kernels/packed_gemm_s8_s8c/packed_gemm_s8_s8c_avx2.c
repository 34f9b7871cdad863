// vpmaddubsw: sums of two products of unsigned and signed bytes in int16. The weights' magnitudes are the
// unsigned ones, and their signs go to x: two products are at most 2 * 128 * 127 = 32512 from 0, so that
// nothing saturates, -128 among the weights included. vpmaddwd with ones adds two of these in int32.
//
// 32 bytes of weights are four values of K of 8 channels; tiles of 4 rows x 8 channels keep 4 sums in
// registers. On cores that multiply on one unit of 128 bits (the first Zen) this is no faster than float32;
// widening bytes to int16 first, or summing high bytes apart without vpmaddwd, was not either.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/unroll.h"

enum { ROWS = 4, HALF = 8 };

static inline __m256i load_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/// MR rows x 8 channels.
EI_ALWAYS_INLINE void compute(const ei_packed_gemm_s8_f4_args *args, const uint8_t *w,
                              const int8_t *x, float *sums, const int MR) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[ROWS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        acc[m] = _mm256_setzero_si256();
    }
    for (size_t block = args->blocks; block > 0; block--) {
        const __m256i weights = _mm256_loadu_si256((const __m256i *)w);
        const __m256i magnitudes = _mm256_abs_epi8(weights);
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            const __m256i four = load_four(x + (size_t)m * args->x_step);
            const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(four, weights));
            acc[m] = _mm256_add_epi32(acc[m], _mm256_madd_epi16(pairs, ones));
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        float *sum = sums + (size_t)m * args->sum_step;
        _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), _mm256_cvtepi32_ps(acc[m])));
    }
}

void ei_packed_gemm_s8_s8c_avx2(const ei_packed_gemm_s8_f4_args *args) {
    for (size_t half = 0; half < 2 * args->tiles; half++) {
        const uint8_t *w = args->weights + half / 2 * args->tile_bytes + half % 2 * 32;
        size_t taken = 0;
        for (size_t row = 0; row < args->rows; row += taken) {
            const size_t left = args->rows - row;
            const int8_t *x = args->x + row * args->x_step;
            float *sums = args->sums + row * args->sum_step + half * HALF;
            if (left >= ROWS) {
                compute(args, w, x, sums, ROWS);
                taken = ROWS;
            } else {
                compute(args, w, x, sums, 1);
                taken = 1;
            }
        }
    }
}
