// sdot: four products of signed bytes added in int32. 16 bytes of weights are four values of K of 4
// channels; the four values of a row are one lane of x, taken from memory for every lane.
#include <arm_neon.h>
#include <string.h>

#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/unroll.h"

enum { ROWS = 4, QUADS = 4 };

static inline int8x16_t load_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/// MR rows x 16 channels.
EI_ALWAYS_INLINE void compute(const ei_packed_gemm_s8_f4_args *args, const int8_t *w,
                              const int8_t *x, float *sums, const int MR) {
    int32x4_t acc[ROWS][QUADS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < QUADS; c++) {
            acc[m][c] = vdupq_n_s32(0);
        }
    }
    for (size_t block = args->blocks; block > 0; block--) {
        int8x16_t weights[QUADS];
        EI_UNROLL
        for (int c = 0; c < QUADS; c++) {
            weights[c] = vld1q_s8(w + 16 * c);
        }
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            const int8x16_t four = load_four(x + (size_t)m * args->x_step);
            EI_UNROLL
            for (int c = 0; c < QUADS; c++) {
                acc[m][c] = vdotq_s32(acc[m][c], weights[c], four);
            }
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < QUADS; c++) {
            float *sum = sums + (size_t)m * args->sum_step + 4 * c;
            vst1q_f32(sum, vaddq_f32(vld1q_f32(sum), vcvtq_f32_s32(acc[m][c])));
        }
    }
}

void ei_packed_gemm_s8_s8c_dotprod(const ei_packed_gemm_s8_f4_args *args) {
    for (size_t tile = 0; tile < args->tiles; tile++) {
        const int8_t *w = (const int8_t *)args->weights + tile * args->tile_bytes;
        size_t taken = 0;
        for (size_t row = 0; row < args->rows; row += taken) {
            const size_t left = args->rows - row;
            const int8_t *x = args->x + row * args->x_step;
            float *sums = args->sums + row * args->sum_step + tile * EI_TILE_CHANNELS;
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
