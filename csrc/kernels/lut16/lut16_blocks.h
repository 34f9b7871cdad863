/// The arithmetic of lut16.h, for every tier (kernels/blocks.h). Looking up is scalar.
#ifndef EI_KERNELS_LUT16_BLOCKS_H
#define EI_KERNELS_LUT16_BLOCKS_H

#include <string.h>

#include "kernels/blocks.h"
#include "kernels/lut16/lut16.h"

static void ei_lut16_blocks(const void *x_blocks, void *y_blocks, size_t count,
                            const void *table_entries) {
    const int16_t *x = x_blocks;
    int16_t *y = y_blocks;
    const int16_t *table = table_entries;
    for (size_t n = 0; n < count; n++, x += EI_BLOCK, y += EI_BLOCK) {
        int32_t
            ends[EI_BLOCK]; // of the line that an element is on: the first one in the lower half
        size_t look_ups = EI_BLOCK;
        __asm__("" : "+r"(look_ups)); // or gcc makes vectors of addresses and takes them apart
        EI_FOUR_BY_FOUR
        for (size_t i = 0; i < look_ups; i++) {
            memcpy(&ends[i], table + 256 + (x[i] >> 7), sizeof ends[i]);
        }
        EI_SIDE_BY_SIDE
        for (size_t i = 0; i < EI_BLOCK; i++) {
            const int32_t first = (int16_t)ends[i];
            const int32_t slope = (ends[i] >> 16) - first;
            y[i] = (int16_t)(first + ((slope * (x[i] & 127) + 64) >> 7));
        }
    }
}

#endif
