// vmull.s8: products of signed bytes in int16; vpadal adds pairs of them in int32. 8 bytes of weights are
// four values of K of 2 channels, so a register of x holds the same four values twice.
#include <arm_neon.h>
#include <string.h>

#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/unroll.h"

enum { ROWS = 2, QUADS = 4 };

static inline int8x8_t load_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpret_s8_s32(vdup_n_s32(four));
}

/// Two sums of each of 4 channels: products k, k + 1 and k + 2, k + 3.
static inline int32x4_t add_products(int32x4_t acc, int8x8_t w, int8x8_t x) {
    return vpadalq_s16(acc, vmull_s8(w, x));
}

/// MR rows x 16 channels. acc[m][c] holds two sums of each of two channels.
EI_ALWAYS_INLINE void compute(const ei_packed_gemm_s8_f4_args *args, const int8_t *w,
                              const int8_t *x, float *sums, const int MR) {
    int32x4_t acc[ROWS][2 * QUADS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < 2 * QUADS; c++) {
            acc[m][c] = vdupq_n_s32(0);
        }
    }
    for (size_t block = args->blocks; block > 0; block--) {
        int8x8_t four[ROWS];
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            four[m] = load_four(x + (size_t)m * args->x_step);
        }
        EI_UNROLL
        for (int c = 0; c < 2 * QUADS; c++) {
            const int8x8_t weights = vld1_s8(w + 8 * c);
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                acc[m][c] = add_products(acc[m][c], weights, four[m]);
            }
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < QUADS; c++) {
            const int32x4_t low = acc[m][2 * c], high = acc[m][2 * c + 1];
            const int32x4_t total =
                vcombine_s32(vpadd_s32(vget_low_s32(low), vget_high_s32(low)),
                             vpadd_s32(vget_low_s32(high), vget_high_s32(high)));
            float *sum = sums + (size_t)m * args->sum_step + 4 * c;
            vst1q_f32(sum, vaddq_f32(vld1q_f32(sum), vcvtq_f32_s32(total)));
        }
    }
}

void ei_packed_gemm_s8_s8c_neon(const ei_packed_gemm_s8_f4_args *args) {
    for (size_t tile = 0; tile < args->tiles; tile++) {
        const int8_t *w = (const int8_t *)args->weights + tile * args->tile_bytes;
        for (size_t row = 0; row < args->rows; row += ROWS) {
            const int8_t *x = args->x + row * args->x_step;
            float *sums = args->sums + row * args->sum_step + tile * EI_TILE_CHANNELS;
            if (args->rows - row >= ROWS) {
                compute(args, w, x, sums, ROWS);
            } else {
                compute(args, w, x, sums, 1);
            }
        }
    }
}
