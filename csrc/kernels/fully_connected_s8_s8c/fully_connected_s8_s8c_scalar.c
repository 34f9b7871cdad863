// The reference: 16 output channels at a time, so that the tile loop is what the compiler can
// vectorise on any CPU. Tiles are the outermost loop: weights are read from memory once per band.
#include "kernels/fully_connected_s8_s8c/fully_connected_s8_s8c.h"

#include "kernels/packed_tile.h"

void ei_fully_connected_s8_s8c_scalar(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                      uint32_t end) {
    const int8_t *weights = args->weights;
    for (size_t first = 0; first < args->n; first += EI_TILE_CHANNELS) {
        const int32_t count = ei_tile_channels((int32_t)first, (int32_t)args->n);
        for (uint32_t row = begin; row < end; row++) {
            const int8_t *x = (const int8_t *)ei_row(&args->x, row);
            int8_t *y = (int8_t *)ei_row(&args->y, row) + first;
            for (uint32_t vector = 0; vector < args->vectors; vector++) {
                uint32_t acc[EI_TILE_CHANNELS];
                ei_tile_start_s8(acc, args->bias + first);
                ei_tile_add_s8(acc, weights, 0, x, args->k, 0);
                ei_tile_store_s8(y, acc, args->multiplier + first, count, &args->requant);
                x += args->k;
                y += args->y_step;
            }
        }
        weights += ei_segment_bytes(args->k);
    }
}
