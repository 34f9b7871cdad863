/// Register tiles of 64-bit ARM: 16 output channels x up to 4 rows, or half as many x 8 rows, which decode
/// a weight for twice as many products. Weights are decoded by a byte shuffle (tbl) into w2, signed;
/// products are of signed bytes, so nothing is to correct. A file defines, before it includes this,
///
///     EI_F4_ROWS                        rows of the largest tile: 2, or 8 (and 4)
///     ei_f4_sums                        the integer sums of a tile
///     start(&sums, MR, NQ)              sets them to 0; NQ x 4 channels
///     add_piece(&sums, w, x, step, MR, NQ)
///                                       adds 8 values of K: w[0] is NQ x 4 channels of the first four
///                                       values, w[1] of the others
///     total(&sums, m, out, MR, NQ)      sums of row m, NQ x 4 channels
#include <arm_neon.h>

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
#include "kernels/unroll.h"

typedef struct ei_f4_tile {
    const ei_packed_gemm_s8_f4_args *args;
    const uint8_t *weights;
    size_t quad; // the first of 4 channels
    size_t row;  // the first
    float *sums; // of the first row and channel
} ei_f4_tile;

/// Scales of NQ x 4 channels.
EI_ALWAYS_INLINE void load_scales(float32x4_t out[QUADS], const uint8_t *codes, ei_f4_scheme scheme,
                                  const int NQ) {
    uint16x8_t words[2];
    words[0] = vmovl_u8(vld1_u8(codes));
    if (NQ > 2) {
        words[1] = vmovl_u8(vld1_u8(codes + 8));
    }
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        const uint16x8_t pair = words[c / 2];
        const uint16x4_t four = c % 2 == 0 ? vget_low_u16(pair) : vget_high_u16(pair);
        if (scheme == EI_NVF4) {
            out[c] = vcvt_f32_f16(vreinterpret_f16_u16(vshl_n_u16(four, 7)));
        } else {
            const uint32x4_t bits = vshlq_n_u32(vmovl_u16(four), 23);
            out[c] = vreinterpretq_f32_u32(vmaxq_u32(bits, vdupq_n_u32(1u << 22)));
        }
    }
}

/// MR rows x 4 * NQ channels, all blocks.
EI_ALWAYS_INLINE void compute(const ei_f4_tile *tile, const int MR, const int NQ) {
    static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const ei_packed_gemm_s8_f4_args *args = tile->args;
    const int8x16_t table = vld1q_s8(twice);
    const uint8x16_t low_nibbles = vdupq_n_u8(15);
    const size_t pieces = ei_f4_block_pieces(args->scheme);
    const uint8_t *w = tile->weights + 16 * tile->quad;
    const uint8_t *scales = w;
    const int8_t *x = args->x + tile->row * args->x_step;
    float32x4_t totals[EI_F4_ROWS][QUADS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            totals[m][c] = vld1q_f32(tile->sums + m * args->sum_step + 4 * c);
        }
    }
    for (size_t block = 0; block < args->blocks; block++) {
        if (block % EI_F4_GROUP == 0) {
            scales = w - 12 * tile->quad;
            w += EI_F4_SCALES_BYTES;
        }
        ei_f4_sums sums;
        start(&sums, MR, NQ);
        for (size_t piece = 0; piece < pieces; piece++) {
            int8x16_t values[2][QUADS];
            EI_UNROLL
            for (int c = 0; c < NQ; c++) {
                const uint8x16_t codes = vld1q_u8(w + 16 * c);
                values[0][c] = vqtbl1q_s8(table, vandq_u8(codes, low_nibbles));
                values[1][c] = vqtbl1q_s8(table, vshrq_n_u8(codes, 4));
            }
            add_piece(&sums, values, x, args->x_step, MR, NQ);
            w += EI_F4_PIECE_BYTES;
            x += EI_F4_PIECE_K;
        }
        float32x4_t scale[QUADS];
        load_scales(scale, scales, args->scheme, NQ);
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            int32x4_t sum[QUADS];
            total(&sums, m, sum, MR, NQ);
            EI_UNROLL
            for (int c = 0; c < NQ; c++) {
                totals[m][c] = vfmaq_f32(totals[m][c], vcvtq_f32_s32(sum[c]), scale[c]);
            }
        }
        scales += EI_TILE_CHANNELS;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            vst1q_f32(tile->sums + m * args->sum_step + 4 * c, totals[m][c]);
        }
    }
}

#if EI_F4_ROWS > 2
EI_NOINLINE void f4_8x8(const ei_f4_tile *tile) {
    compute(tile, 8, 2);
}

EI_NOINLINE void f4_4x16(const ei_f4_tile *tile) {
    compute(tile, 4, QUADS);
}
#endif

EI_NOINLINE void f4_2x16(const ei_f4_tile *tile) {
    compute(tile, 2, QUADS);
}

EI_NOINLINE void f4_1x16(const ei_f4_tile *tile) {
    compute(tile, 1, QUADS);
}

/// As many of the rows from tile->row on as a tile of registers takes; their number.
static size_t multiply_some(ei_f4_tile *tile) {
    const size_t left = tile->args->rows - tile->row;
#if EI_F4_ROWS > 2
    if (left >= 8) {
        f4_8x8(tile);
        tile->quad = 2;
        tile->sums += 8;
        f4_8x8(tile);
        tile->quad = 0;
        return 8;
    }
    if (left >= 4) {
        f4_4x16(tile);
        return 4;
    }
#endif
    if (left >= 2) {
        f4_2x16(tile);
        return 2;
    }
    f4_1x16(tile);
    return 1;
}

static void multiply(const ei_packed_gemm_s8_f4_args *args) {
    for (size_t t = 0; t < args->tiles; t++) {
        ei_f4_tile tile = {.args = args, .weights = args->weights + t * args->tile_bytes};
        while (tile.row < args->rows) {
            tile.sums = args->sums + tile.row * args->sum_step + t * EI_TILE_CHANNELS;
            tile.row += multiply_some(&tile);
        }
    }
}
