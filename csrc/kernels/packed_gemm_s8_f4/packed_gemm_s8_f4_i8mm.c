// smmla: 2 x 2 sums of eight products of signed bytes. Of the two halves of a piece, zipped by four bytes,
// each register is 2 output channels x 8 values of K; the other operand is 2 rows x 8 values. |sum| of a
// block is at most 32 * 12 * 128.
#include <arm_neon.h>
#include <stddef.h>

#include "kernels/unroll.h"

#define EI_F4_ROWS 8
enum { QUADS = 4, PAIRS = 8 };

typedef struct ei_f4_sums {
    int32x4_t of[EI_F4_ROWS / 2][PAIRS]; // row 0 channels 0 and 1, row 1 the same
} ei_f4_sums;

/// Pairs of rows; one row is paired with itself.
#define ROW_PAIRS(MR) (((MR) + 1) / 2)

EI_ALWAYS_INLINE void start(ei_f4_sums *sums, const int MR, const int NQ) {
    EI_UNROLL
    for (int i = 0; i < ROW_PAIRS(MR) * 2 * NQ; i++) {
        sums->of[i / (2 * NQ)][i % (2 * NQ)] = vdupq_n_s32(0);
    }
}

EI_ALWAYS_INLINE void add_piece(ei_f4_sums *sums, int8x16_t w[2][QUADS], const int8_t *x,
                                size_t step, const int MR, const int NQ) {
    int8x16_t pairs[PAIRS];
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        const int32x4_t first = vreinterpretq_s32_s8(w[0][c]);
        const int32x4_t second = vreinterpretq_s32_s8(w[1][c]);
        pairs[2 * c] = vreinterpretq_s8_s32(vzip1q_s32(first, second));
        pairs[2 * c + 1] = vreinterpretq_s8_s32(vzip2q_s32(first, second));
    }
    EI_UNROLL
    for (int p = 0; p < ROW_PAIRS(MR); p++) {
        const int8_t *row = x + 2 * (size_t)p * step;
        const int8x16_t rows = vcombine_s8(vld1_s8(row), vld1_s8(MR > 1 ? row + step : row));
        EI_UNROLL
        for (int c = 0; c < 2 * NQ; c++) {
            sums->of[p][c] = vmmlaq_s32(sums->of[p][c], rows, pairs[c]);
        }
    }
}

EI_ALWAYS_INLINE void total(const ei_f4_sums *sums, int m, int32x4_t out[QUADS], const int MR,
                            const int NQ) {
    (void)MR;
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        const int64x2_t a = vreinterpretq_s64_s32(sums->of[m / 2][2 * c]);
        const int64x2_t b = vreinterpretq_s64_s32(sums->of[m / 2][2 * c + 1]);
        out[c] = vreinterpretq_s32_s64(m % 2 == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b));
    }
}

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_arm.h"

void ei_packed_gemm_s8_f4_i8mm(const ei_packed_gemm_s8_f4_args *args) {
    multiply(args);
}
