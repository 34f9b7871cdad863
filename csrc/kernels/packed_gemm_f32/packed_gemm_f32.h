/// Runs of pixels times packed float32 or float16 weights: what convolutions, fully connected layers and
/// matrix products of float32 have in common. Each tier has one version, made of register tiles of
/// `rows` pixels by 16 channels times `tiles` (packed_gemm_f32_tile.h).
///
///     y[p][n] = bounded(bias[n] + sum over segments s and i < length, in this order, of
///                       segments[s][p * pixel_step + i] * w[n, s * length + i])
///
/// by fused multiply-adds (kernels/float_tile.h).
#ifndef EI_KERNELS_PACKED_GEMM_F32_H
#define EI_KERNELS_PACKED_GEMM_F32_H

#include "kernels/float_tile.h"

/// Weights that are read next, brought closer meanwhile: a hint, of which results never depend. `at` moves
/// on to `end`.
typedef struct ei_weights_ahead {
    const uint8_t *at, *end;
} ei_weights_ahead;

typedef struct ei_packed_gemm_f32 {
    const float *const *segments; // where the first pixel's values of a segment begin
    size_t segment_count;
    size_t length;     // values of a segment
    size_t pixel_step; // floats from a pixel's values to those of the next
    size_t row_step; // 0; or, of exactly 14 pixels in rows of seven, floats from the first pixel's
                     // values to those of the eighth, for tiers that take pairs of rows
    size_t pixels;   // 1 and up
    const void *weights; // of the first tile of channels
    int half;            // weights are float16
    size_t k_step; // elements from a tile's weights of one k to those of the next; 16 where packed
    size_t tile_step;  // elements from a tile's weights to those of the next tile
    const float *bias; // of all tiles, or NULL for +0
    float *y;          // shares no byte with the other operands
    size_t y_step;     // floats from a pixel of y to the next
    size_t channels;   // 1 and up; weights and bias have whole tiles of them
    ei_bounds_f32 bounds;
    ei_weights_ahead *ahead; // or NULL
    int resumes;             // start from what y holds, which has no bounds yet; bias is NULL
} ei_packed_gemm_f32;

typedef void (*ei_packed_gemm_f32_fn)(const ei_packed_gemm_f32 *gemm);

void ei_packed_gemm_f32_avx2(const ei_packed_gemm_f32 *gemm);
void ei_packed_gemm_f32_avx512vnni(const ei_packed_gemm_f32 *gemm);
void ei_packed_gemm_f32_neon(const ei_packed_gemm_f32 *gemm);

#endif
