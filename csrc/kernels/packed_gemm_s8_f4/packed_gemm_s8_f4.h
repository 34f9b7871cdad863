/// Products of int8 rows and weights of four bits in blocks, MXFP4 or NVFP4:
///
///     sums[m][n] = fma((float)i(b), scale(b, n), sums[m][n])          for blocks b in ascending order
///     i(b) = sum over the block's k of x[m][k] * w2[k, n]             an exact integer
///
/// w2 is twice the E2M1 value, an integer from -12 to 12. Blocks are 32 values of K (MXFP4; scale is the
/// power of two that its code stands for) or 16 (NVFP4; scale is the code's E4M3 value times 2^-8, so that
/// tiers can make it of a float16). The factors 2 and 2^8 are the caller's to undo. |i| <= 32 * 128 * 12,
/// which float32 holds, so every tier gives the same bits.
///
/// The packed layout, of 16 output channels (a tile; N is rounded up with anything whose scales are no
/// NaN) and one block after the other:
///
///     group of 4 blocks:  | 64 bytes of scales: 16 of each block | block | block | block | block |
///     block:              4 (MXFP4) or 2 (NVFP4) pieces of 64 bytes, 8 values of K each
///     piece:              byte 4 * n + i = code(n, k + i) | code(n, k + 4 + i) << 4,   0 <= i < 4
///
/// The last group has as many blocks as are left, and all of its 64 bytes of scales. So scales and pieces
/// lie at multiples of 64 bytes, and a load of codes feeds two products of four values.
#ifndef EI_KERNELS_PACKED_GEMM_S8_F4_H
#define EI_KERNELS_PACKED_GEMM_S8_F4_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/packed_tile.h"

/// EI_S8C is that of kernels/packed_gemm_s8_s8c: int8, blocks of four values without scales.
typedef enum ei_f4_scheme { EI_S8C = 0, EI_MXF4 = 1, EI_NVF4 = 2 } ei_f4_scheme;

enum {
    EI_F4_PIECE_BYTES = 64, // 16 channels, 8 values of K
    EI_F4_PIECE_K = 8,
    EI_F4_GROUP = 4,          // blocks
    EI_F4_SCALES_BYTES = 64,  // of a group
    EI_F4_MOST_ROWS = 64,     // of a product
    EI_F4_MOST_BLOCKS = 2560, // of all rows of a product together
    EI_S8C_MOST_K = 16 * EI_F4_MOST_BLOCKS
};

static inline size_t ei_f4_block_pieces(ei_f4_scheme scheme) {
    return scheme == EI_MXF4 ? 4 : 2;
}

/// Values of K in a block.
static inline size_t ei_f4_block(ei_f4_scheme scheme) {
    return scheme == EI_S8C ? EI_TILE_K : ei_f4_block_pieces(scheme) * EI_F4_PIECE_K;
}

/// Bytes of a tile's first blocks, with the scales of the last group they are in.
static inline size_t ei_f4_bytes(size_t blocks, ei_f4_scheme scheme) {
    if (scheme == EI_S8C) {
        return blocks * EI_TILE_BYTES;
    }
    return blocks * ei_f4_block_pieces(scheme) * EI_F4_PIECE_BYTES +
           (blocks + EI_F4_GROUP - 1) / EI_F4_GROUP * EI_F4_SCALES_BYTES;
}

typedef struct ei_packed_gemm_s8_f4_args {
    const int8_t *x;        // rows of blocks * ei_f4_block() values
    size_t x_step;          // from one row to the next
    size_t rows;            // 1 to EI_F4_MOST_ROWS; rows * blocks is at most EI_F4_MOST_BLOCKS
    size_t blocks;          // at least 1
    const uint8_t *weights; // of the first tile, from a group on
    size_t tile_bytes;      // from one tile to the next
    size_t tiles;           // of 16 output channels, at least 1
    float *sums;            // [rows][16 * tiles]: where they begin, and what they become
    size_t sum_step;        // floats from one row to the next
    ei_f4_scheme scheme;
} ei_packed_gemm_s8_f4_args;

typedef void (*ei_packed_gemm_s8_f4_fn)(const ei_packed_gemm_s8_f4_args *args);

void ei_packed_gemm_s8_f4_scalar(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_f4_avx2(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_f4_avxvnni(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_f4_avx512vnni(const ei_packed_gemm_s8_f4_args *args);
/// On CPUs that have AVX-512 VBMI too.
void ei_packed_gemm_s8_f4_vbmi_avx512vnni(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_f4_neon(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_f4_dotprod(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_f4_i8mm(const ei_packed_gemm_s8_f4_args *args);

#endif
