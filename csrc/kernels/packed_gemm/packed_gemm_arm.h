/// What the products of the ARM tiers share: the walk over tiles, and what happens to their sums. A
/// tier's file includes this with EI_TILE_PIXELS defined, the pixels of its largest tile, and
/// EI_TILE_LEAST, those of its smallest, half of it or less; where fewer pixels than EI_TILE_UNIT, 1
/// unless defined, take as many instructions as that; and defines begin_channels() and compute_bytes().
/// A tile is 16 channels, or half of them where no more exist.
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

/// A tile of the product: pixels x 16 channels, or 8. What no tile changes is copied from the arguments,
/// which a store into y could change, for all that a compiler knows.
typedef struct ei_gemm_tile {
    const uint8_t *const *segments;
    size_t segment_count, groups, pixel_step;
    const int8_t *weights;
    const int32_t *bias;
    const float *multiplier;
    const int32_t *pixel_bias; // of the tile's first pixel, where there is one
    size_t pixel_biases;       // for each pixel: 0 or 1
    const int32_t *start;      // begin_channels()'s
    size_t offset;             // bytes from the first pixel to this tile's, in a patch
    int8_t *y;                 // room for the tile's channels of each pixel
    size_t y_step;
    ei_requant_neon requant;
} ei_gemm_tile;

// Addresses that a compiler knows to be a step apart it computes from each other, again and again.
#define HIDE(address) __asm__("" : "+r"(address))

/// Before the tiles of 16 channels: the form of their bias that sums begin with, which may be in `room`.
EI_ALWAYS_INLINE const int32_t *begin_channels(const int32_t *bias,
                                               int32_t room[2 * EI_TILE_CHANNELS]);

/// y[m], the first 4 * NQ channels of pixel m, of MR pixels; NQ (2 or 4) and MR are constants. Within int8,
/// not yet clamped.
EI_ALWAYS_INLINE void compute_bytes(int8x16_t y[PIXELS], const ei_gemm_tile *tile, const int MR,
                                    const int NQ);

/// As many values from what ei_scale_neon() gave, before clamping.
EI_ALWAYS_INLINE int8x16_t narrow(const int32x4_t scaled[QUADS], int16x8_t zero_point,
                                  const int NQ) {
    const int8x8_t low = vqmovn_s16(ei_narrow_neon(scaled[0], scaled[1], zero_point));
    if (NQ < QUADS) {
        return vcombine_s8(low, low); // of which half is stored
    }
    return vcombine_s8(low, vqmovn_s16(ei_narrow_neon(scaled[2], scaled[3], zero_point)));
}

/// compute_bytes() from sums without what a pixel has for all of its own: acc[m][c] are channels 4c to
/// 4c + 3.
EI_ALWAYS_INLINE void requantize(int8x16_t y[PIXELS], int32x4_t acc[PIXELS][QUADS],
                                 const ei_gemm_tile *tile, const int MR, const int NQ) {
    if (tile->pixel_biases != 0) {
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            const int32x4_t bias = vdupq_n_s32(tile->pixel_bias[m]);
            EI_UNROLL
            for (int c = 0; c < NQ; c++) {
                acc[m][c] = vaddq_s32(acc[m][c], bias);
            }
        }
    }
    float32x4_t multiplier[QUADS];
    EI_UNROLL
    for (int c = 0; c < NQ; c++) {
        multiplier[c] = vld1q_f32(tile->multiplier + 4 * c);
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        int32x4_t scaled[QUADS];
        EI_UNROLL
        for (int c = 0; c < NQ; c++) {
            scaled[c] = ei_scale_neon(acc[m][c], multiplier[c]);
        }
        y[m] = narrow(scaled, tile->requant.zero_point, NQ);
    }
}

EI_ALWAYS_INLINE void compute(const ei_gemm_tile *tile, const int MR, const int NQ) {
    int8x16_t bytes[PIXELS];
    compute_bytes(bytes, tile, MR, NQ);
    ei_clamp_neon(bytes, MR, &tile->requant);
    int8_t *y = tile->y;
    const size_t y_step = tile->y_step;
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        if (NQ < QUADS) {
            vst1_s8(y, vget_low_s8(bytes[m]));
        } else {
            vst1q_s8(y, bytes[m]);
        }
        y += y_step;
    }
}

/// `count` tiles, one behind the other.
EI_ALWAYS_INLINE void compute_tiles(const ei_gemm_tile *first, size_t count, const int MR,
                                    const int NQ) {
    ei_gemm_tile tile = *first;
    for (; count > 0; count--) {
        compute(&tile, MR, NQ);
        tile.offset += (size_t)MR * tile.pixel_step;
        tile.y += (size_t)MR * tile.y_step;
        tile.pixel_bias += (size_t)MR * tile.pixel_biases;
    }
}

EI_ALWAYS_INLINE void compute_pixels(const ei_gemm_tile *tile, size_t pixels, size_t count,
                                     const int NQ) {
    switch (pixels) {
#if EI_TILE_LEAST <= 1 && EI_TILE_PIXELS > 1
    case 1: compute_tiles(tile, count, 1, NQ); return;
#endif
#if EI_TILE_LEAST <= 2 && EI_TILE_PIXELS > 2
    case 2: compute_tiles(tile, count, 2, NQ); return;
#endif
#if EI_TILE_LEAST <= 3 && EI_TILE_PIXELS > 3
    case 3: compute_tiles(tile, count, 3, NQ); return;
#endif
#if EI_TILE_LEAST <= 4 && EI_TILE_PIXELS > 4
    case 4: compute_tiles(tile, count, 4, NQ); return;
#endif
#if EI_TILE_LEAST <= 5 && EI_TILE_PIXELS > 5
    case 5: compute_tiles(tile, count, 5, NQ); return;
#endif
    default: compute_tiles(tile, count, PIXELS, NQ); return;
    }
}

/// `count` tiles of EI_TILE_LEAST to EI_TILE_PIXELS pixels by 16 channels, or 8 if there are no more.
/// Moves `tile` on behind them.
__attribute__((noinline)) static void compute_run(ei_gemm_tile *tile, size_t pixels, size_t count,
                                                  size_t channels) {
    if (channels > EI_TILE_CHANNELS / 2) {
        compute_pixels(tile, pixels, count, QUADS);
    } else {
        compute_pixels(tile, pixels, count, QUADS / 2);
    }
    tile->offset += count * pixels * tile->pixel_step;
    tile->y += count * pixels * tile->y_step;
    tile->pixel_bias += count * pixels * tile->pixel_biases;
}

/// Copies fewer than 16 channels of each pixel.
static void copy_channels(int8_t *y, size_t y_step, const int8_t *all, size_t pixels,
                          size_t channels) {
    for (size_t i = 0; i < pixels; i++, y += y_step, all += EI_TILE_CHANNELS) {
        for (size_t n = 0; n < channels; n++) {
            y[n] = all[n];
        }
    }
}

/// As compute_run(), of a number of channels that no vector store has.
static void compute_part(ei_gemm_tile *tile, size_t pixels, size_t count, size_t channels) {
    int8_t all[PIXELS * EI_TILE_CHANNELS];
    int8_t *y = tile->y;
    const size_t y_step = tile->y_step;
    tile->y_step = EI_TILE_CHANNELS;
    for (; count > 0; count--) {
        tile->y = all;
        compute_run(tile, pixels, 1, channels);
        copy_channels(y, y_step, all, pixels, channels);
        y += pixels * y_step;
    }
    tile->y = y;
    tile->y_step = y_step;
}

/// Tiles of equal size, but for one unit.
static void multiply(const ei_packed_gemm_args *args) {
    int32_t start[2 * EI_TILE_CHANNELS];
    ei_gemm_tile tile = {.segments = args->segments,
                         .segment_count = args->segment_count,
                         .groups = args->groups,
                         .pixel_step = args->pixel_step,
                         .weights = args->weights,
                         .bias = args->bias,
                         .multiplier = args->multiplier,
                         .pixel_biases = args->pixel_bias != NULL,
                         .y_step = args->y_step,
                         .requant = ei_requant_neon_of(&args->requant)};
    const size_t units = (args->pixels + UNIT - 1) / UNIT;
    const size_t tiles = (args->pixels + PIXELS - 1) / PIXELS;
    const size_t size = units / tiles * UNIT;
    const size_t larger = units % tiles;                // tiles that have one unit more
    const size_t lacking = units * UNIT - args->pixels; // pixels of the last tile
    for (size_t first = 0; first < args->channels; first += EI_TILE_CHANNELS) {
        const size_t channels = args->channels - first;
        const int part = channels < EI_TILE_CHANNELS && channels != EI_TILE_CHANNELS / 2;
        void (*const run)(ei_gemm_tile *, size_t, size_t, size_t) =
            part ? compute_part : compute_run;
        tile.start = begin_channels(tile.bias, start);
        tile.offset = 0;
        tile.pixel_bias = args->pixel_bias != NULL ? args->pixel_bias : tile.bias;
        tile.y = args->y + first;
        if (larger > 0) {
            run(&tile, size + UNIT, larger, channels);
        }
        if (tiles - larger > lacking) {
            run(&tile, size, tiles - larger - lacking, channels);
        }
        if (lacking > 0) {
            run(&tile, size - lacking, 1, channels);
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
