// sdot by element: four sums of four products of signed bytes, modulo 2^32. A register of packed
// weights is 4 output channels x 4 values, and meets one of the four groups of four values that a
// register of a pixel holds:
//
//     acc[m][c] += x[m][4g..4g+3] . w[channels 4c..4c+3][4g..4g+3]
//
// Tiles of 6 pixels x 16 channels keep 24 sums and 6 pixels' values in registers, so that a load of
// weights serves 6 instructions.
#define EI_TILE_PIXELS 6
#define EI_TILE_LEAST  1
#include "kernels/packed_gemm/packed_gemm_arm.h"

// As an instruction where gcc 12 would make copies of sums out of the intrinsic.
#if defined(__clang__)
#define ADD_PRODUCTS(acc, w, x, lane, g) ((acc) = vdotq_##lane##_s32(acc, w, x, g))
#else
#define ADD_PRODUCTS(acc, w, x, lane, g)                                                           \
    __asm__("sdot %0.4s, %1.16b, %2.4b[" #g "]" : "+w"(acc) : "w"(w), "w"(x))
#endif

EI_ALWAYS_INLINE const int32_t *begin_channels(const int32_t *bias,
                                               int32_t room[2 * EI_TILE_CHANNELS]) {
    (void)room;
    return bias; // as it is
}

/// One group, or two.
EI_ALWAYS_INLINE const int8_t *add_few_groups(int32x4_t acc[PIXELS][QUADS], const int8_t *x[PIXELS],
                                              const int8_t *w, const int groups, const int MR,
                                              const int NQ) {
    int8x8_t few[PIXELS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        if (groups == 1) {
            int32_t bytes;
            memcpy(&bytes, x[m], sizeof bytes);
            few[m] = vreinterpret_s8_s32(vdup_n_s32(bytes));
        } else {
            few[m] = vld1_s8(x[m]);
        }
        x[m] += groups * EI_TILE_K;
    }
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        const int8x16_t quad = vld1q_s8(w + 16 * c);
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            ADD_PRODUCTS(acc[m][c], quad, few[m], lane, 0);
        }
    }
    if (groups > 1) {
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            const int8x16_t quad = vld1q_s8(w + EI_TILE_BYTES + 16 * c);
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                ADD_PRODUCTS(acc[m][c], quad, few[m], lane, 1);
            }
        }
    }
    return w + groups * EI_TILE_BYTES;
}

EI_ALWAYS_INLINE void compute_bytes(int8x16_t y[PIXELS], const ei_gemm_tile *tile, const int MR,
                                    const int NQ) {
    int32x4_t acc[PIXELS][QUADS];
    const int32_t *start = tile->start;
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            acc[m][c] = vld1q_s32(start + 4 * c);
        }
        HIDE(start); // two registers are loaded at a time, but copied one by one
    }
    const size_t step = tile->pixel_step;
    const int8_t *w = tile->weights;
    for (size_t s = 0; s < tile->segment_count; s++) {
        const int8_t *x[PIXELS];
        x[0] = (const int8_t *)tile->segments[s] + tile->offset;
        EI_UNROLL
        for (int m = 1; m < MR; m++) {
            x[m] = x[m - 1] + step;
            HIDE(x[m]);
        }
        for (size_t fours = tile->groups / 4; fours > 0; fours--) {
            int8x16_t four[PIXELS];
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                four[m] = vld1q_s8(x[m]);
                x[m] += 4 * EI_TILE_K;
                HIDE(x[m]); // so that each is moved on by its load
            }
#define ADD_GROUP(g)                                                                               \
    EI_UNROLL                                                                                      \
    for (int n = 2; n < NQ + 2; n++) {                                                             \
        const int c = n % NQ;                                                                      \
        const int8x16_t quad = vld1q_s8(w + (g) * EI_TILE_BYTES + 16 * c);                         \
        EI_UNROLL                                                                                  \
        for (int m = 0; m < MR; m++) {                                                             \
            ADD_PRODUCTS(acc[m][c], quad, four[m], laneq, g);                                      \
        }                                                                                          \
    }
            ADD_GROUP(1)
            ADD_GROUP(2)
            ADD_GROUP(3)
            ADD_GROUP(0) // its first registers last: their load moves the address on
            w += 4 * EI_TILE_BYTES;
            HIDE(w);
#undef ADD_GROUP
        }
        if (tile->groups & 2) {
            w = add_few_groups(acc, x, w, 2, MR, NQ);
        }
        if (tile->groups & 1) {
            w = add_few_groups(acc, x, w, 1, MR, NQ);
        }
    }
    requantize(y, acc, tile, MR, NQ);
}

const ei_packed_gemm ei_packed_gemm_dotprod = {.value_bytes = 1,
                                               .reads_input = 1,
                                               .tile_pixels = PIXELS,
                                               .copy = copy_values,
                                               .bias = copy_bias,
                                               .multiply = multiply};
