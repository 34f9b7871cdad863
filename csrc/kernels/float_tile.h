/// What products of float32 share: the order of their sums, and packed weights as scalar kernels walk
/// them.
///
/// A sum starts at the bias, or at +0, and takes its products one after the other in ascending order
/// of K, each by one fused multiply-add, acc = fma(x, w, acc). So every output element is one chain,
/// whatever the tier, and no two products are summed before they meet the chain. What is stored is
///
///     v = low > acc ? low : acc,   v = high < v ? high : v,   NaN as 0x7fc00000
///
/// so a NaN stays one, and a zero keeps its sign.
///
/// A packed matrix is [N/16][K][16]: sixteen output channels of one k are 64 bytes of float32, or 32 of
/// float16, whose values are decoded exactly. Channels that do not exist may hold anything.
#ifndef EI_KERNELS_FLOAT_TILE_H
#define EI_KERNELS_FLOAT_TILE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/exact_fma.h"
#include "kernels/packed_tile.h"

/// Bounds of what is stored, low <= high; infinite where there are none.
typedef struct ei_bounds_f32 {
    float low, high;
} ei_bounds_f32;

static inline float ei_bounded_f32(float v, ei_bounds_f32 bounds) {
    v = bounds.low > v ? bounds.low : v;
    v = bounds.high < v ? bounds.high : v;
    return v != v ? __builtin_nanf("") : v;
}

/// Bytes of a packed weight.
static inline size_t ei_weight_bytes(int half) {
    return half ? sizeof(uint16_t) : sizeof(float);
}

/// The value of a float16.
static inline float ei_half(uint16_t bits) {
    const uint32_t magnitude = (uint32_t)(bits & 0x7fffu) << 13;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f; // the exponents' biases, 127 and 15; exact, subnormal numbers too
    uint32_t result;
    memcpy(&result, &value, sizeof result);
    if (magnitude >= 0x7c00u << 13) { // infinities and NaNs
        result = magnitude | 0x7f800000u;
    }
    result |= (uint32_t)(bits & 0x8000u) << 16;
    memcpy(&value, &result, sizeof value);
    return value;
}

/// acc[n] = fma(x[k], w[k][n], acc[n]) for k = 0 .. count - 1, in this order. Functions and not inline:
/// several kernels share their loops.
void ei_tile_add_f32(float acc[restrict EI_TILE_CHANNELS], const float *restrict w,
                     const float *restrict x, size_t count);
void ei_tile_add_f16(float acc[restrict EI_TILE_CHANNELS], const uint16_t *restrict w,
                     const float *restrict x, size_t count);

static inline void ei_tile_start_f32(float acc[restrict EI_TILE_CHANNELS],
                                     const float *restrict bias) {
    memcpy(acc, bias, EI_TILE_CHANNELS * sizeof(float));
}

/// Stores the first `count` channels of a tile.
static inline void ei_tile_store_f32(float *restrict y, const float acc[restrict EI_TILE_CHANNELS],
                                     int32_t count, ei_bounds_f32 bounds) {
    for (int32_t n = 0; n < count; n++) {
        y[n] = ei_bounded_f32(acc[n], bounds);
    }
}

#endif
