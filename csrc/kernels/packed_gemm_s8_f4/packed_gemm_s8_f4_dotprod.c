// sdot by element: four sums of four products of signed bytes. A register of decoded weights is 4 output
// channels x 4 values of K; |sum| of a block is at most 32 * 12 * 128.
#include <arm_neon.h>
#include <stddef.h>

#include "kernels/unroll.h"

#define EI_F4_ROWS 8
enum { QUADS = 4 };

typedef struct ei_f4_sums {
    int32x4_t of[EI_F4_ROWS][QUADS];
} ei_f4_sums;

EI_ALWAYS_INLINE void start(ei_f4_sums *sums, const int MR, const int NQ) {
    EI_UNROLL
    for (int i = 0; i < MR * NQ; i++) {
        sums->of[i / NQ][i % NQ] = vdupq_n_s32(0);
    }
}

EI_ALWAYS_INLINE void add_piece(ei_f4_sums *sums, int8x16_t w[2][QUADS], const int8_t *x,
                                size_t step, const int MR, const int NQ) {
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        const int8x8_t values = vld1_s8(x + (size_t)m * step);
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            sums->of[m][c] = vdotq_lane_s32(sums->of[m][c], w[0][c], values, 0);
            sums->of[m][c] = vdotq_lane_s32(sums->of[m][c], w[1][c], values, 1);
        }
    }
}

EI_ALWAYS_INLINE void total(const ei_f4_sums *sums, int m, int32x4_t out[QUADS], const int MR,
                            const int NQ) {
    (void)MR;
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        out[c] = sums->of[m][c];
    }
}

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_arm.h"

void ei_packed_gemm_s8_f4_dotprod(const ei_packed_gemm_s8_f4_args *args) {
    multiply(args);
}
