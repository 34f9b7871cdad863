/// What the products of the ARM tiers share: the walk over tiles, and what happens to their sums. A
/// tier's file includes this with EI_TILE_PIXELS defined, the pixels of its largest tile, and
/// EI_TILE_LEAST, those of its smallest, half of it or less; where fewer pixels than EI_TILE_UNIT, 1
/// unless defined, take as many instructions as that; and defines begin_channels() and compute_bytes().
///
/// Patches hold the int8 values as they are: the instructions multiply signed by signed.
#ifndef EI_KERNELS_PACKED_GEMM_ARM_H
#define EI_KERNELS_PACKED_GEMM_ARM_H

#if !defined(__clang__)
#pragma GCC optimize("no-schedule-insns") // loads that gcc moves far ahead cost registers of sums
#endif
#include <arm_neon.h>
#include <string.h>

#include "kernels/packed_gemm/packed_gemm.h"
#include "kernels/packed_tile.h"
#include "kernels/requantize_neon.h"
#include "kernels/unroll.h"

#if !defined(EI_TILE_UNIT)
#define EI_TILE_UNIT 1
#endif

enum { PIXELS = EI_TILE_PIXELS, UNIT = EI_TILE_UNIT, QUADS = EI_TILE_CHANNELS / 4 };

/// A tile of the product: pixels x 16 channels.
typedef struct ei_gemm_tile {
    const ei_packed_gemm_args *args;
    const int8_t *weights;
    const int32_t *bias;
    const float *multiplier;
    const int32_t *pixel_bias;                        // or NULL
    _Alignas(16) int32_t start[2 * EI_TILE_CHANNELS]; // begin_channels()'s
    size_t offset; // bytes from the first pixel to this tile's, in a patch
    int8_t *y;     // room for 16 channels of each pixel
    size_t y_step;
    ei_requant_neon requant;
    int clamps; // 1: to less than int8 holds
} ei_gemm_tile;

// Addresses that a compiler knows to be a step apart it computes from each other, again and again.
#define HIDE(address) __asm__("" : "+r"(address))

/// Before the tiles of 16 channels: brings their bias into the form that sums begin with.
EI_ALWAYS_INLINE void begin_channels(ei_gemm_tile *tile);

/// y[m], 16 channels of pixel m, of MR pixels, a constant: within int8, not yet clamped.
EI_ALWAYS_INLINE void compute_bytes(int8x16_t y[PIXELS], const ei_gemm_tile *tile, const int MR);

/// Sixteen values from what ei_scale_neon() gave, before clamping.
EI_ALWAYS_INLINE int8x16_t narrow(const int32x4_t scaled[QUADS], int16x8_t zero_point) {
    return vcombine_s8(vqmovn_s16(ei_narrow_neon(scaled[0], scaled[1], zero_point)),
                       vqmovn_s16(ei_narrow_neon(scaled[2], scaled[3], zero_point)));
}

/// compute_bytes() from sums without what a pixel has for all of its own: acc[m][c] are channels 4c to
/// 4c + 3.
EI_ALWAYS_INLINE void requantize(int8x16_t y[PIXELS], int32x4_t acc[PIXELS][QUADS],
                                 const ei_gemm_tile *tile, const int MR) {
    if (tile->pixel_bias != NULL) {
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            const int32x4_t bias = vdupq_n_s32(tile->pixel_bias[m]);
            EI_UNROLL
            for (int c = 0; c < QUADS; c++) {
                acc[m][c] = vaddq_s32(acc[m][c], bias);
            }
        }
    }
    float32x4_t multiplier[QUADS];
    EI_UNROLL
    for (int c = 0; c < QUADS; c++) {
        multiplier[c] = vld1q_f32(tile->multiplier + 4 * c);
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        int32x4_t scaled[QUADS];
        EI_UNROLL
        for (int c = 0; c < QUADS; c++) {
            scaled[c] = ei_scale_neon(acc[m][c], multiplier[c]);
        }
        y[m] = narrow(scaled, tile->requant.zero_point);
    }
}

EI_ALWAYS_INLINE void compute(const ei_gemm_tile *tile, const int MR) {
    int8x16_t bytes[PIXELS];
    compute_bytes(bytes, tile, MR);
    if (tile->clamps) {
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            bytes[m] = vminq_s8(vmaxq_s8(bytes[m], tile->requant.low), tile->requant.high);
        }
    }
    int8_t *y = tile->y;
    const size_t y_step = tile->y_step;
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        vst1q_s8(y, bytes[m]);
        y += y_step;
    }
}

/// EI_TILE_LEAST to EI_TILE_PIXELS pixels.
static void compute_pixels(const ei_gemm_tile *tile, size_t pixels) {
    switch (pixels) {
#if EI_TILE_LEAST <= 1 && EI_TILE_PIXELS > 1
    case 1: compute(tile, 1); return;
#endif
#if EI_TILE_LEAST <= 2 && EI_TILE_PIXELS > 2
    case 2: compute(tile, 2); return;
#endif
#if EI_TILE_LEAST <= 3 && EI_TILE_PIXELS > 3
    case 3: compute(tile, 3); return;
#endif
#if EI_TILE_LEAST <= 4 && EI_TILE_PIXELS > 4
    case 4: compute(tile, 4); return;
#endif
#if EI_TILE_LEAST <= 5 && EI_TILE_PIXELS > 5
    case 5: compute(tile, 5); return;
#endif
    default: compute(tile, PIXELS); return;
    }
}

/// Copies fewer than 16 channels of each pixel.
static void copy_channels(int8_t *y, size_t y_step, const int8_t *all, size_t pixels,
                          size_t channels) {
    for (size_t i = 0; i < pixels; i++, y += y_step, all += EI_TILE_CHANNELS) {
        if (channels == 8) {
            memcpy(y, all, 8);
        } else {
            for (size_t n = 0; n < channels; n++) {
                y[n] = all[n];
            }
        }
    }
}

/// Tiles of equal size, but for one unit.
static void multiply(const ei_packed_gemm_args *args) {
    int8_t some[PIXELS * EI_TILE_CHANNELS];
    ei_gemm_tile tile = {.args = args,
                         .weights = args->weights,
                         .bias = args->bias,
                         .multiplier = args->multiplier,
                         .requant = ei_requant_neon_of(&args->requant),
                         .clamps = args->requant.clamp_min > INT8_MIN ||
                                   args->requant.clamp_max < INT8_MAX};
    const size_t units = (args->pixels + UNIT - 1) / UNIT;
    const size_t tiles = (args->pixels + PIXELS - 1) / PIXELS;
    const size_t size = units / tiles * UNIT;
    const size_t larger = units % tiles; // tiles that have one unit more
    for (size_t first = 0; first < args->channels; first += EI_TILE_CHANNELS) {
        const size_t channels = args->channels - first;
        const int whole = channels >= EI_TILE_CHANNELS;
        int8_t *y = args->y + first;
        size_t left = args->pixels;
        begin_channels(&tile);
        tile.offset = 0;
        tile.pixel_bias = args->pixel_bias;
        tile.y_step = whole ? args->y_step : EI_TILE_CHANNELS;
        for (size_t i = 0; i < tiles; i++) {
            const size_t most = i < larger ? size + UNIT : size;
            const size_t pixels = UNIT == 1 || most < left ? most : left;
            tile.y = whole ? y : some;
            compute_pixels(&tile, pixels);
            if (!whole) {
                copy_channels(y, args->y_step, some, pixels, channels);
            }
            tile.offset += pixels * args->pixel_step;
            tile.pixel_bias += tile.pixel_bias != NULL ? pixels : 0;
            y += pixels * args->y_step;
            left -= pixels;
        }
        tile.weights += args->tile_bytes;
        tile.bias += EI_TILE_CHANNELS;
        tile.multiplier += EI_TILE_CHANNELS;
    }
}

static void copy_values(uint8_t *out, const int8_t *x, size_t count) {
    memcpy(out, x, count);
}

static void copy_bias(int32_t *out, const int32_t *bias, const int8_t *weights, size_t tiles,
                      size_t tile_bytes) {
    (void)weights;
    (void)tile_bytes;
    memcpy(out, bias, tiles * EI_TILE_CHANNELS * sizeof *out);
}

#endif
