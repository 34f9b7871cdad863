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
                                 const int8_t *w, const int MR, const int NQ, const int groups) {
    int8x16_t four[PIXELS][2];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
#if defined(__aarch64__)
        if (groups > 1) {
            const int32x4x2_t two = vld2q_dup_s32((const int32_t *)(const void *)x[m]);
            four[m][0] = vreinterpretq_s8_s32(two.val[0]);
            four[m][1] = vreinterpretq_s8_s32(two.val[1]);
            x[m] += groups * EI_TILE_K;
            HIDE(x[m]); // so that each is moved on by its load
            continue;
        }
#endif
        four[m][0] = load_four(x[m]);
        four[m][1] = groups > 1 ? load_four(x[m] + EI_TILE_K) : four[m][0];
        x[m] += groups * EI_TILE_K;
    }
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
#if !defined(__aarch64__)
        __asm__ volatile("" ::: "memory"); // loads that are moved up cost registers of sums
#endif
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

#if EI_PAIRS && defined(__aarch64__)

// The order that a CPU needs which issues in order (Cortex-A53, where products take 6 cycles): eight
// instructions between those that depend on each other, and loads side by side. A step is two groups
// and eight channels, of two pixels; sums of the second four channels are left to the next step.

// The weights of a step: the last eight channels first, so that the load of the others can move on.
#define LOAD_LAST                                                                                  \
    "ldp %q[n3], %q[b0], [%[from], 32]\n\t"                                                        \
    "ldp %q[a1], %q[b1], [%[from], 96]\n\t"
#define LOAD_FIRST                                                                                 \
    "ldp %q[a1], %q[b1], [%[from], 64]\n\t"                                                        \
    "ldp %q[n3], %q[b0], [%[from]], 128\n\t"

/// Loads a step's weights, adds the products `p` that the last one left, and begins new ones: `n` of
/// the first four channels, `p` of the others.
#define BEGIN_STEP(load, n, p, sum, quad, x, w, at)                                                \
    __asm__ volatile(                                                                              \
        load "sadalp %[s0].4s, %[p0].8h\n\t"                                                       \
             "sadalp %[s1].4s, %[p1].8h\n\t"                                                       \
             "sadalp %[s2].4s, %[p2].8h\n\t"                                                       \
             "sadalp %[s3].4s, %[p3].8h\n\t"                                                       \
             "smull %[n0].8h, %[n3].8b, %[x0].8b\n\t"                                              \
             "smull2 %[n1].8h, %[n3].16b, %[x0].16b\n\t"                                           \
             "smull %[n2].8h, %[n3].8b, %[x1].8b\n\t"                                              \
             "smull2 %[n3].8h, %[n3].16b, %[x1].16b\n\t"                                           \
             "smull %[p0].8h, %[b0].8b, %[x0].8b\n\t"                                              \
             "smull2 %[p1].8h, %[b0].16b, %[x0].16b\n\t"                                           \
             "smull %[p2].8h, %[b0].8b, %[x1].8b\n\t"                                              \
             "smull2 %[p3].8h, %[b0].16b, %[x1].16b"                                               \
        : [n0] "=&w"((n)[0]), [n1] "=&w"((n)[1]), [n2] "=&w"((n)[2]), [n3] "=&w"((n)[3]),          \
          [p0] "+w"((p)[0]), [p1] "+w"((p)[1]), [p2] "+w"((p)[2]), [p3] "+w"((p)[3]),              \
          [s0] "+w"((sum)[0][2 * (quad)]), [s1] "+w"((sum)[0][2 * (quad) + 1]),                    \
          [s2] "+w"((sum)[1][2 * (quad)]), [s3] "+w"((sum)[1][2 * (quad) + 1]),                    \
          [b0] "=&w"((w)[0]), [a1] "=&w"((w)[1]), [b1] "=&w"((w)[2]), [from] "+r"(at)              \
        : [x0] "w"((x)[0].val[0]), [x1] "w"((x)[1].val[0])                                         \
        : "memory")

/// The products of the second group, and the sums of the first four channels.
#define END_STEP(n, p, sum, quad, x, w)                                                            \
    __asm__ volatile(                                                                              \
        "smlal %[n0].8h, %[a1].8b, %[x0].8b\n\t"                                                   \
        "smlal2 %[n1].8h, %[a1].16b, %[x0].16b\n\t"                                                \
        "smlal %[n2].8h, %[a1].8b, %[x1].8b\n\t"                                                   \
        "smlal2 %[n3].8h, %[a1].16b, %[x1].16b\n\t"                                                \
        "smlal %[p0].8h, %[b1].8b, %[x0].8b\n\t"                                                   \
        "smlal2 %[p1].8h, %[b1].16b, %[x0].16b\n\t"                                                \
        "smlal %[p2].8h, %[b1].8b, %[x1].8b\n\t"                                                   \
        "smlal2 %[p3].8h, %[b1].16b, %[x1].16b\n\t"                                                \
        "sadalp %[s0].4s, %[n0].8h\n\t"                                                            \
        "sadalp %[s1].4s, %[n1].8h\n\t"                                                            \
        "sadalp %[s2].4s, %[n2].8h\n\t"                                                            \
        "sadalp %[s3].4s, %[n3].8h"                                                                \
        : [n0] "+w"((n)[0]), [n1] "+w"((n)[1]), [n2] "+w"((n)[2]), [n3] "+w"((n)[3]),              \
          [p0] "+w"((p)[0]), [p1] "+w"((p)[1]), [p2] "+w"((p)[2]), [p3] "+w"((p)[3]),              \
          [s0] "+w"((sum)[0][2 * (quad)]), [s1] "+w"((sum)[0][2 * (quad) + 1]),                    \
          [s2] "+w"((sum)[1][2 * (quad)]), [s3] "+w"((sum)[1][2 * (quad) + 1])                     \
        : [x0] "w"((x)[0].val[1]), [x1] "w"((x)[1].val[1]), [a1] "w"((w)[1]), [b1] "w"((w)[2]))

/// Two pixels, `count` times two groups. Leaves products `p` of the second four channels to the next
/// call, or add_left().
EI_ALWAYS_INLINE const int8_t *add_in_order(int32x4_t sum[PIXELS][2 * QUADS],
                                            int16x8_t p[2 * PIXELS], const int8_t *x[PIXELS],
                                            const int8_t *w, size_t count) {
    int16x8_t n[2 * PIXELS];
    for (; count > 0; count--) {
        int32x4x2_t two[PIXELS];
        int8x16_t weights[3];
        EI_UNROLL
        for (int m = 0; m < PIXELS; m++) {
            two[m] = vld2q_dup_s32((const int32_t *)(const void *)x[m]);
            x[m] += 2 * EI_TILE_K;
        }
        BEGIN_STEP(LOAD_LAST, n, p, sum, 1, two, weights, w);
        END_STEP(n, p, sum, 2, two, weights);
        BEGIN_STEP(LOAD_FIRST, n, p, sum, 3, two, weights, w);
        END_STEP(n, p, sum, 0, two, weights);
    }
    return w;
}

EI_ALWAYS_INLINE void add_left(int32x4_t sum[PIXELS][2 * QUADS], const int16x8_t p[2 * PIXELS]) {
    EI_UNROLL
    for (int i = 0; i < 2 * PIXELS; i++) {
        int32x4_t *last = &sum[i / 2][2 + i % 2]; // of the second four channels
        *last = vpadalq_s16(*last, p[i]);
    }
}

#endif

/// A channel's bias is in one of its two sums.
EI_ALWAYS_INLINE const int32_t *begin_channels(const int32_t *bias,
                                               int32_t room[2 * EI_TILE_CHANNELS]) {
    const int32x4_t zero = vdupq_n_s32(0);
    EI_UNROLL
    for (int c = 0; c < QUADS; c++) {
        const int32x4x2_t two = vzipq_s32(vld1q_s32(bias + 4 * c), zero);
        vst1q_s32(room + 8 * c, two.val[0]);
        vst1q_s32(room + 8 * c + 4, two.val[1]);
    }
    return room;
}

EI_ALWAYS_INLINE void compute_bytes(int8x16_t y[PIXELS], const ei_gemm_tile *tile, const int MR,
                                    const int NQ) {
    int32x4_t acc[PIXELS][QUADS];
    const int8_t *w = tile->weights;
    int32x4_t sum[PIXELS][2 * QUADS];
    const int32_t *start = tile->start;
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int j = 0; j < 2 * NQ; j++) {
            sum[m][j] = vld1q_s32(start + 4 * j);
        }
        HIDE(start); // two registers are loaded at a time, but copied one by one
    }
#if EI_PAIRS && defined(__aarch64__)
    int16x8_t left[2 * PIXELS];
    EI_UNROLL
    for (int i = 0; i < 2 * PIXELS; i++) {
        left[i] = vdupq_n_s16(0);
    }
#endif
    for (size_t s = 0; s < tile->segment_count; s++) {
        const int8_t *x[PIXELS];
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            x[m] = (const int8_t *)tile->segments[s] + tile->offset + (size_t)m * tile->pixel_step;
        }
        size_t group = tile->groups;
#if EI_PAIRS && defined(__aarch64__)
        if (MR == PIXELS && NQ == QUADS) {
            w = add_in_order(sum, left, x, w, group / 2);
            group %= 2;
        }
#endif
#if EI_PAIRS
        for (; group >= 2; group -= 2) {
            add_groups(sum, x, w, MR, NQ, 2);
            w += 2 * EI_TILE_BYTES;
        }
#endif
        for (; group > 0; group--) {
            add_groups(sum, x, w, MR, NQ, 1);
            w += EI_TILE_BYTES;
        }
    }
#if EI_PAIRS && defined(__aarch64__)
    if (MR == PIXELS && NQ == QUADS) {
        add_left(sum, left);
    }
#endif
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            acc[m][c] = add_pairs(sum[m][2 * c], sum[m][2 * c + 1]);
        }
    }
    requantize(y, acc, tile, MR, NQ);
}

#endif
