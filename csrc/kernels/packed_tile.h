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

/// acc[n] += w(n, 0..3) . v, w being the 64 bytes of one K-group of four.
static inline void ei_tile_add_group_s8(uint32_t acc[restrict EI_TILE_CHANNELS],
                                        const int8_t *restrict w, const int32_t v[EI_TILE_K]) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        acc[n] += (uint32_t)(w[4 * n] * v[0] + w[4 * n + 1] * v[1] + w[4 * n + 2] * v[2] +
                             w[4 * n + 3] * v[3]);
    }
}

/// As ei_tile_add_group_s8 on int16 activations: four products fit int32_t, their sums need more.
static inline void ei_tile_add_group_s16(uint64_t acc[restrict EI_TILE_CHANNELS],
                                         const int8_t *restrict w, const int32_t v[EI_TILE_K]) {
    for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
        const int32_t sum =
            w[4 * n] * v[0] + w[4 * n + 1] * v[1] + w[4 * n + 2] * v[2] + w[4 * n + 3] * v[3];
        acc[n] += (uint64_t)(int64_t)sum;
    }
}

/// acc[n] += sum over i < count of w(n, k + i) * (x[i] - zero_point), w being the tiles of a segment.
static inline void ei_tile_add_s8(uint32_t acc[restrict EI_TILE_CHANNELS], const int8_t *restrict w,
                                  size_t k, const int8_t *restrict x, size_t count,
                                  int32_t zero_point) {
    const size_t end = k + count;
    w += k / EI_TILE_K * EI_TILE_BYTES;
    while (k < end) {
        if (k % EI_TILE_K == 0 && end - k >= EI_TILE_K) {
            const int32_t v[EI_TILE_K] = {x[0] - zero_point, x[1] - zero_point, x[2] - zero_point,
                                          x[3] - zero_point};
            ei_tile_add_group_s8(acc, w, v);
            k += EI_TILE_K;
            x += EI_TILE_K;
        } else { // the run begins or ends inside this group: the rest of it adds nothing
            int32_t v[EI_TILE_K] = {0};
            do {
                v[k % EI_TILE_K] = *x - zero_point;
                k++;
                x++;
            } while (k < end && k % EI_TILE_K != 0);
            ei_tile_add_group_s8(acc, w, v);
        }
        w += EI_TILE_BYTES;
    }
}

/// As ei_tile_add_s8.
static inline void ei_tile_add_s16(uint64_t acc[restrict EI_TILE_CHANNELS],
                                   const int8_t *restrict w, size_t k, const int16_t *restrict x,
                                   size_t count, int32_t zero_point) {
    const size_t end = k + count;
    w += k / EI_TILE_K * EI_TILE_BYTES;
    while (k < end) {
        if (k % EI_TILE_K == 0 && end - k >= EI_TILE_K) {
            const int32_t v[EI_TILE_K] = {x[0] - zero_point, x[1] - zero_point, x[2] - zero_point,
                                          x[3] - zero_point};
            ei_tile_add_group_s16(acc, w, v);
            k += EI_TILE_K;
            x += EI_TILE_K;
        } else { // the run begins or ends inside this group: the rest of it adds nothing
            int32_t v[EI_TILE_K] = {0};
            do {
                v[k % EI_TILE_K] = *x - zero_point;
                k++;
                x++;
            } while (k < end && k % EI_TILE_K != 0);
            ei_tile_add_group_s16(acc, w, v);
        }
        w += EI_TILE_BYTES;
    }
}

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
