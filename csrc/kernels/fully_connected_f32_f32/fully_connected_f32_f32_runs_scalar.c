// Vectors of rows that lie one behind another are one run. The weights of a block of output channels, as
// much as the L2 cache keeps, meet all of them before those of the next block do.
#include "kernels/fully_connected_f32_f32/fully_connected_f32_f32_runs.h"

enum { BLOCK_BYTES = 512 * 1024, LEAST_TILES = 8 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

void ei_fully_connected_f32_runs(const ei_fully_connected_f32_args *args, int half,
                                 ei_packed_gemm_f32_fn gemm, uint32_t begin, uint32_t end) {
    const size_t tile = (size_t)args->k * EI_TILE_CHANNELS; // weights
    const size_t fit = BLOCK_BYTES / (tile * ei_weight_bytes(half));
    const size_t block = (fit < LEAST_TILES ? LEAST_TILES : fit) * EI_TILE_CHANNELS;
    for (size_t n = 0; n < args->n; n += block) {
        const size_t bytes = args->k * ei_weight_bytes(half); // of a channel
        const size_t channels = least(block, args->n - n);
        const uint8_t *weights = (const uint8_t *)args->weights + n * bytes;
        const uint8_t *next = weights + channels * bytes;
        ei_weights_ahead ahead = {next, next + least(block, args->n - n - channels) * bytes};
        for (uint32_t row = begin; row < end;) {
            const size_t rows = least(end - row, least(args->x.ring - row % args->x.ring,
                                                       args->y.ring - row % args->y.ring));
            const float *x = (const float *)(const void *)ei_row(&args->x, row);
            const ei_packed_gemm_f32 run = {.segments = &x,
                                            .segment_count = 1,
                                            .length = args->k,
                                            .pixel_step = args->k,
                                            .pixels = rows * args->vectors,
                                            .weights = weights,
                                            .half = half,
                                            .ahead = &ahead,
                                            .k_step = EI_TILE_CHANNELS,
                                            .tile_step = tile,
                                            .bias = args->bias + n,
                                            .y = (float *)(void *)ei_row(&args->y, row) + n,
                                            .y_step = args->y_step,
                                            .channels = channels,
                                            .bounds = args->bounds};
            gemm(&run);
            row += (uint32_t)rows;
        }
    }
}
