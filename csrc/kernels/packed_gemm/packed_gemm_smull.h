// smull: eight products of signed bytes as int16; sadalp: pairs of them added to four sums of int32.
// A register of packed weights is 4 output channels x 4 values, and meets four values of a pixel that
// are the same for all channels:
//
//     sum[m][2c]     += | x0*w(4c,0) + x1*w(4c,1) | x2*w(4c,2) + x3*w(4c,3) | x0*w(4c+1,0) + ... |
//     sum[m][2c + 1] += the same of channels 4c + 2 and 4c + 3
//
// so that each channel has two sums, which are added at the end.
//
// With EI_PAIRS two groups of four values are multiplied (smull, smlal) for one sadalp. Two products
// fit int16 unless all four factors are -128; so weights of -128 are not for this one.
//
// Tiles of 2 pixels keep 16 sums in registers; on ARMv7, which has half the registers, 1 pixel 8.
#ifndef EI_KERNELS_PACKED_GEMM_SMULL_H
#define EI_KERNELS_PACKED_GEMM_SMULL_H

#if defined(__aarch64__)
#define EI_TILE_PIXELS 2
#else
#define EI_TILE_PIXELS 1
#endif
#define EI_TILE_LEAST 1
#include "kernels/packed_gemm/packed_gemm_arm.h"

EI_ALWAYS_INLINE int8x16_t load_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    int8x16_t all = vreinterpretq_s8_s32(vdupq_n_s32(four));
#if defined(__aarch64__)
    __asm__(
        ""
        : "+w"(
            all)); // hides that both halves are the same: then the upper half of w is used in place
#endif
    return all;
}

EI_ALWAYS_INLINE int32x4_t add_pairs(int32x4_t low, int32x4_t high) {
#if defined(__aarch64__)
    return vpaddq_s32(low, high);
#else
    return vcombine_s32(vpadd_s32(vget_low_s32(low), vget_high_s32(low)),
                        vpadd_s32(vget_low_s32(high), vget_high_s32(high)));
#endif
}

EI_ALWAYS_INLINE int16x8_t multiply_high(int8x16_t w, int8x16_t x) {
#if defined(__aarch64__)
    return vmull_high_s8(w, x);
#else
    return vmull_s8(vget_high_s8(w), vget_high_s8(x));
#endif
}

EI_ALWAYS_INLINE int16x8_t add_high(int16x8_t sum, int8x16_t w, int8x16_t x) {
#if defined(__aarch64__)
    return vmlal_high_s8(sum, w, x);
#else
    return vmlal_s8(sum, vget_high_s8(w), vget_high_s8(x));
#endif
}

/// One group, or two, of four values.
EI_ALWAYS_INLINE void add_groups(int32x4_t sum[PIXELS][2 * QUADS], const int8_t *x[PIXELS],
                                 const int8_t *w, const int MR, const int groups) {
    int8x16_t four[PIXELS][2];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        four[m][0] = load_four(x[m]);
        four[m][1] = groups > 1 ? load_four(x[m] + EI_TILE_K) : four[m][0];
        x[m] += groups * EI_TILE_K;
    }
    EI_UNROLL
    for (int c = 0; c < QUADS; c++) {
        const int8x16_t w0 = vld1q_s8(w + 16 * c);
        const int8x16_t w1 = groups > 1 ? vld1q_s8(w + EI_TILE_BYTES + 16 * c) : w0;
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            int16x8_t low = vmull_s8(vget_low_s8(w0), vget_low_s8(four[m][0]));
            int16x8_t high = multiply_high(w0, four[m][0]);
            if (groups > 1) {
                low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(four[m][1]));
                high = add_high(high, w1, four[m][1]);
            }
            sum[m][2 * c] = vpadalq_s16(sum[m][2 * c], low);
            sum[m][2 * c + 1] = vpadalq_s16(sum[m][2 * c + 1], high);
        }
    }
}

EI_ALWAYS_INLINE void add_up(int32x4_t acc[PIXELS][QUADS], const ei_gemm_tile *tile, const int MR) {
    const ei_packed_gemm_args *args = tile->args;
    const int8_t *w = tile->weights;
    int32x4_t sum[PIXELS][2 * QUADS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int i = 0; i < 2 * QUADS; i++) {
            sum[m][i] = vdupq_n_s32(0);
        }
    }
    for (size_t s = 0; s < args->segment_count; s++) {
        const int8_t *x[PIXELS];
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            x[m] = (const int8_t *)args->segments[s] + tile->offset + (size_t)m * args->pixel_step;
        }
        size_t group = args->groups;
#if EI_PAIRS
        for (; group >= 2; group -= 2) {
            add_groups(sum, x, w, MR, 2);
            w += 2 * EI_TILE_BYTES;
        }
#endif
        for (; group > 0; group--) {
            add_groups(sum, x, w, MR, 1);
            w += EI_TILE_BYTES;
        }
    }
    start(acc, tile, MR);
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < QUADS; c++) {
            acc[m][c] = vaddq_s32(acc[m][c], add_pairs(sum[m][2 * c], sum[m][2 * c + 1]));
        }
    }
}

#endif
