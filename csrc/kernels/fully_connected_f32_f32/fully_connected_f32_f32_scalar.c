// The reference: 16 output channels at a time, tiles of weights being the outermost loop.
#include "kernels/fully_connected_f32_f32/fully_connected_f32_f32.h"

static void multiply_tile(const ei_fully_connected_f32_args *args, int half, uint32_t row,
                          uint32_t n) {
    const float *x = (const float *)(const void *)ei_row(&args->x, row);
    float *y = (float *)(void *)ei_row(&args->y, row) + n;
    const size_t first = (size_t)n * args->k;
    for (uint32_t vector = 0; vector < args->vectors; vector++) {
        float acc[EI_TILE_CHANNELS];
        ei_tile_start_f32(acc, args->bias + n);
        if (half) {
            ei_tile_add_f16(acc, (const uint16_t *)args->weights + first, x, args->k);
        } else {
            ei_tile_add_f32(acc, (const float *)args->weights + first, x, args->k);
        }
        ei_tile_store_f32(y, acc, ei_tile_channels((int32_t)n, (int32_t)args->n), args->bounds);
        x += args->k;
        y += args->y_step;
    }
}

static void multiply(const ei_fully_connected_f32_args *args, int half, uint32_t begin,
                     uint32_t end) {
    for (uint32_t n = 0; n < args->n; n += EI_TILE_CHANNELS) {
        for (uint32_t row = begin; row < end; row++) {
            multiply_tile(args, half, row, n);
        }
    }
}

void ei_fully_connected_f32_f32_scalar(const ei_fully_connected_f32_args *args, uint32_t begin,
                                       uint32_t end) {
    multiply(args, 0, begin, end);
}

void ei_fully_connected_f32_f16_scalar(const ei_fully_connected_f32_args *args, uint32_t begin,
                                       uint32_t end) {
    multiply(args, 1, begin, end);
}
