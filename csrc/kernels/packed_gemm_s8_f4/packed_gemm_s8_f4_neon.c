// smlal: products of signed bytes added to int16. A lane sums one value of every four of a channel's, so 8
// of a block, which is at most 8 * 12 * 128 = 12288 from 0. 32-bit ARM keeps the scalar version: its
// vectors flush subnormal numbers to zero.
#if defined(__aarch64__)
#include <arm_neon.h>
#include <stddef.h>
#include <string.h>

#include "kernels/unroll.h"

#define EI_F4_ROWS 2
enum { QUADS = 4 };

typedef struct ei_f4_sums {
    int16x8_t of[EI_F4_ROWS][2 * QUADS]; // 2 channels x 4 values each
} ei_f4_sums;

EI_ALWAYS_INLINE void start(ei_f4_sums *sums, const int MR, const int NQ) {
    EI_UNROLL
    for (int i = 0; i < MR * 2 * NQ; i++) {
        sums->of[i / (2 * NQ)][i % (2 * NQ)] = vdupq_n_s16(0);
    }
}

EI_ALWAYS_INLINE int8x16_t four_times(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

EI_ALWAYS_INLINE void add_piece(ei_f4_sums *sums, int8x16_t w[2][QUADS], const int8_t *x,
                                size_t step, const int MR, const int NQ) {
    EI_UNROLL
    for (int i = 0; i < 2 * MR; i++) {
        const int m = i / 2, half = i % 2;
        const int8x16_t values = four_times(x + (size_t)m * step + 4 * half);
        int16x8_t *acc = sums->of[m];
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            acc[2 * c] = vmlal_s8(acc[2 * c], vget_low_s8(w[half][c]), vget_low_s8(values));
            acc[2 * c + 1] = vmlal_high_s8(acc[2 * c + 1], w[half][c], values);
        }
    }
}

EI_ALWAYS_INLINE void total(const ei_f4_sums *sums, int m, int32x4_t out[QUADS], const int MR,
                            const int NQ) {
    (void)MR;
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        out[c] = vpaddq_s32(vpaddlq_s16(sums->of[m][2 * c]), vpaddlq_s16(sums->of[m][2 * c + 1]));
    }
}

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_arm.h"

void ei_packed_gemm_s8_f4_neon(const ei_packed_gemm_s8_f4_args *args) {
    multiply(args);
}
#else
typedef int ei_packed_gemm_s8_f4_is_not_on_32_bit;
#endif
