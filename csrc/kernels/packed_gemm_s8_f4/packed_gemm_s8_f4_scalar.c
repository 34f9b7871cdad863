// The reference: a row and 16 output channels at a time, block after block.
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"

#include "kernels/exact_fma.h"
#include "kernels/packed_gemm_s8_f4/f4_values.h"

static void add_piece(int32_t acc[restrict EI_TILE_CHANNELS], const uint8_t *restrict codes,
                      const int8_t *restrict x) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        for (size_t i = 0; i < EI_TILE_K; i++) {
            const uint8_t pair = codes[EI_TILE_K * n + i];
            acc[n] += ei_f4_twice[pair & 15] * x[i] + ei_f4_twice[pair >> 4] * x[EI_TILE_K + i];
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
            sums[n] = ei_exact_fma((float)acc[n], ei_f4_scale(scales[n], args->scheme), sums[n]);
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
