// The reference: a row and 16 output channels at a time, block after block.
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"

#include <string.h>

#include "kernels/exact_fma.h"
#include "kernels/float_tile.h"

/// Twice the E2M1 value of a code.
static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float scale_of(uint8_t code, ei_f4_scheme scheme) {
    if (scheme == EI_NVF4) {
        return ei_half((uint16_t)(code << 7)); // the exponents' biases are 7 and 15
    }
    const uint32_t bits = code == 0 ? 1u << 22 : (uint32_t)code << 23; // 2^-127 is subnormal
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

static void add_piece(int32_t acc[restrict EI_TILE_CHANNELS], const uint8_t *restrict codes,
                      const int8_t *restrict x) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        for (size_t i = 0; i < EI_TILE_K; i++) {
            const uint8_t pair = codes[EI_TILE_K * n + i];
            acc[n] += twice[pair & 15] * x[i] + twice[pair >> 4] * x[EI_TILE_K + i];
        }
    }
}

static void multiply_tile(const ei_packed_gemm_s8_f4_args *args, const uint8_t *w, const int8_t *x,
                          float *sums) {
    const size_t pieces = ei_f4_block_pieces(args->scheme);
    const uint8_t *scales = w;
    for (size_t block = 0; block < args->blocks; block++) {
        if (block % EI_F4_GROUP == 0) {
            scales = w;
            w += EI_F4_SCALES_BYTES;
        }
        int32_t acc[EI_TILE_CHANNELS] = {0};
        for (size_t piece = 0; piece < pieces; piece++) {
            add_piece(acc, w, x);
            w += EI_F4_PIECE_BYTES;
            x += EI_F4_PIECE_K;
        }
        for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
            sums[n] = ei_exact_fma((float)acc[n], scale_of(scales[n], args->scheme), sums[n]);
        }
        scales += EI_TILE_CHANNELS;
    }
}

void ei_packed_gemm_s8_f4_scalar(const ei_packed_gemm_s8_f4_args *args) {
    for (size_t tile = 0; tile < args->tiles; tile++) {
        for (size_t row = 0; row < args->rows; row++) {
            multiply_tile(args, args->weights + tile * args->tile_bytes,
                          args->x + row * args->x_step,
                          args->sums + row * args->sum_step + tile * EI_TILE_CHANNELS);
        }
    }
}
