/// What the tiers that take weights unsigned (vpdpbusd) hand to a tile of registers.
#ifndef EI_KERNELS_PACKED_GEMM_S8_S8C_TILE_H
#define EI_KERNELS_PACKED_GEMM_S8_S8C_TILE_H

#include <stddef.h>
#include <stdint.h>

/// What a tile of registers works on.
typedef struct ei_s8c_tile {
    const int8_t *x; // of the first row
    size_t x_step;
    size_t blocks;
    const uint8_t *weights; // of the first 16 channels
    size_t tile_bytes;
    float *sums; // of the first row and channel
    size_t sum_step;
    const int32_t *corrections; // of the first row
} ei_s8c_tile;

#endif
