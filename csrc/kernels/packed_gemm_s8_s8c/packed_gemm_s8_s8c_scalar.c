// The reference: a row and 16 output channels at a time.
#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"

static void multiply_tile(const ei_packed_gemm_s8_f4_args *args, const int8_t *restrict w,
                          const int8_t *restrict x, float *restrict sums) {
    int32_t acc[EI_TILE_CHANNELS] = {0};
    for (size_t block = 0; block < args->blocks; block++) {
        for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
            for (size_t i = 0; i < EI_TILE_K; i++) {
                acc[n] += w[EI_TILE_K * n + i] * x[i];
            }
        }
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        sums[n] += (float)acc[n];
    }
}

void ei_packed_gemm_s8_s8c_scalar(const ei_packed_gemm_s8_f4_args *args) {
    for (size_t tile = 0; tile < args->tiles; tile++) {
        const int8_t *w = (const int8_t *)args->weights + tile * args->tile_bytes;
        for (size_t row = 0; row < args->rows; row++) {
            multiply_tile(args, w, args->x + row * args->x_step,
                          args->sums + row * args->sum_step + tile * EI_TILE_CHANNELS);
        }
    }
}
