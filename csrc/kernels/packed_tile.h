/// Packed weights as the scalar kernels walk them: one tile of 16 output channels at a time.
///
/// A packed matrix is [N/16][K/4][16][4] int8 (docs/internals/kernels.md): 64 bytes hold four
/// consecutive values of K for each of 16 output channels,
///
///     byte    0 .. 3      4 .. 7            60 .. 63
///           | n0 k0..k3 | n1 k0..k3 | ... | n15 k0..k3 |
///
/// K consists of segments, runs of inputs contiguous in memory, each padded with zeros to a multiple
/// of 4. Sums wrap: int8 products are below 2^14 in magnitude, so int32 sums are exact up to
/// K = 2^17 - 1 less the bias, which legal models keep to; other files get a defined result.
#ifndef EI_KERNELS_PACKED_TILE_H
#define EI_KERNELS_PACKED_TILE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/requantize.h"

#define EI_TILE_CHANNELS 16 // output channels of a tile
#define EI_TILE_K        4  // consecutive values of K in a group
#define EI_TILE_BYTES    (EI_TILE_CHANNELS * EI_TILE_K)

/// Weights that a later layer reads, to be brought closer while this one is computed: a hint, of which
/// results never depend. NULL and 0 where there are none.
typedef struct ei_weights_hint {
    const int8_t *weights;
    size_t bytes;
} ei_weights_hint;

/// Bytes of one tile of channels over a segment of `length` values.
static inline size_t ei_segment_bytes(size_t length) {
    return (length + EI_TILE_K - 1) / EI_TILE_K * EI_TILE_BYTES;
}

/// Channels of a tile that starts at `first`: 16, or what is left of `total`.
static inline int32_t ei_tile_channels(int32_t first, int32_t total) {
    return total - first < EI_TILE_CHANNELS ? total - first : EI_TILE_CHANNELS;
}

/// acc[n] += sum over i < count of w(n, k + i) * (x[i] - zero_point), w being the tiles of a segment.
/// Modulo 2^32 and 2^64. Functions and not inline: six kernels share their loops.
void ei_tile_add_s8(uint32_t acc[restrict EI_TILE_CHANNELS], const int8_t *restrict w, size_t k,
                    const int8_t *restrict x, size_t count, int32_t zero_point);
void ei_tile_add_s16(uint64_t acc[restrict EI_TILE_CHANNELS], const int8_t *restrict w, size_t k,
                     const int16_t *restrict x, size_t count, int32_t zero_point);

static inline void ei_tile_start_s8(uint32_t acc[restrict EI_TILE_CHANNELS],
                                    const int32_t *restrict bias) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        acc[n] = (uint32_t)bias[n];
    }
}

static inline void ei_tile_start_s16(uint64_t acc[restrict EI_TILE_CHANNELS],
                                     const int64_t *restrict bias) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        acc[n] = (uint64_t)bias[n];
    }
}

/// Requantises the first `count` channels of a tile into y.
static inline void ei_tile_store_s8(int8_t *restrict y,
                                    const uint32_t acc[restrict EI_TILE_CHANNELS],
                                    const float *restrict multiplier, int32_t count,
                                    const ei_requant *requant) {
    for (int32_t n = 0; n < count; n++) {
        y[n] = (int8_t)ei_requantize((float)(int32_t)acc[n] * multiplier[n], requant);
    }
}

static inline void ei_tile_store_s16(int16_t *restrict y,
                                     const uint64_t acc[restrict EI_TILE_CHANNELS],
                                     const float *restrict multiplier, int32_t count,
                                     const ei_requant *requant) {
    for (int32_t n = 0; n < count; n++) {
        y[n] = (int16_t)ei_requantize((float)(int64_t)acc[n] * multiplier[n], requant);
    }
}

#endif
