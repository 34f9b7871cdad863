#include "kernels/embedding_f32_f4/embedding_f32_f4.h"

#include "kernels/float_tile.h"
#include "kernels/packed_gemm_s8_f4/f4_values.h"

void ei_embedding_f32_f4_scalar(float *y, size_t k, const uint8_t *tiles, size_t row,
                                float multiplier, ei_f4_scheme scheme) {
    const size_t block = ei_f4_block(scheme);
    const size_t blocks = (k + block - 1) / block;
    const size_t channel = row % EI_TILE_CHANNELS;
    const uint8_t *w = tiles + row / EI_TILE_CHANNELS * ei_f4_bytes(blocks, scheme);
    const uint8_t *scales = w;
    float scale = 0;
    for (size_t first = 0; first < k; first += EI_F4_PIECE_K) {
        if (first % (EI_F4_GROUP * block) == 0) {
            scales = w + channel;
            w += EI_F4_SCALES_BYTES;
        }
        if (first % block == 0) {
            scale = ei_f4_scale(*scales, scheme);
            scales += EI_TILE_CHANNELS;
        }
        const size_t left = k - first < EI_F4_PIECE_K ? k - first : EI_F4_PIECE_K;
        for (size_t i = 0; i < left; i++) {
            const uint8_t pair = w[EI_TILE_K * channel + i % EI_TILE_K];
            const uint8_t code = i < EI_TILE_K ? pair & 15 : pair >> 4;
            const float value = (float)ei_f4_twice[code] * scale * multiplier;
            y[first + i] = value != value ? __builtin_nanf("") : value;
        }
        w += EI_F4_PIECE_BYTES;
    }
}
