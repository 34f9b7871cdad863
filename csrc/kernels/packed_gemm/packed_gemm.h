/// Matrix product of patches and packed weights: what conv2d and fully_connected come down to.
///
/// A patch holds input values in a small buffer on the stack, in the form that a tier's multiplier
/// takes them (below), with the pixels beside the image filled in. Output pixel m reads, of segment s,
///
///     segments[s] + m * pixel_step + 0 .. 4 * groups
///
/// in values; what a segment reads beyond its end meets weights that are 0. Neither gather nor
/// product ever reads outside of patches, weights, bias and multipliers.
#ifndef EI_KERNELS_PACKED_GEMM_H
#define EI_KERNELS_PACKED_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/packed_tile.h"
#include "kernels/requantize.h"
#include "kernels/rows.h"

#define EI_PATCH_BYTES    (48 * 1024)
#define EI_PATCH_FEW      (24 * 1024) // of them that stay in every L1 data cache beside the weights
#define EI_PATCH_SLACK    64          // of them for what segments read beyond their ends
#define EI_PATCH_ROWS     64          // input rows
#define EI_PATCH_SEGMENTS 512         // of a window
#define EI_PATCH_CHANNELS 1024        // output channels whose bias is prepared at a time
#define EI_BLOCK_BYTES    (256 * 1024) // of weights that stay in every L2 cache
#define EI_LATER_BYTES    (768 * 1024) // of a later layer, at most

#define EI_LEAST_PAIRED 4
#define EI_MOST_PAIRED  7

/// Weights that will be asked for next, brought closer meanwhile: those of the blocks that follow, then
/// some of a later layer.
typedef struct ei_weights_ahead {
    const int8_t *next, *end;
    ei_weights_hint later;
} ei_weights_ahead;

typedef struct ei_packed_gemm_args {
    const uint8_t *const *segments; // the first pixel's values of each, at least 1
    size_t segment_count;
    size_t groups;                         // of four values, in a segment
    size_t pixel_step;                     // bytes
    size_t pixels;                         // at least 1
    const uint8_t *const *second_segments; // NULL, or those of as many pixels more
    int8_t *second_y;                      // of the first of them
    const int8_t *weights;                 // of the first tile of 16 output channels
    size_t tile_bytes;                     // of weights
    const int32_t *bias;                   // 16 per tile, from ei_packed_gemm_bias_<tier>()
    const float *multiplier;               // 16 per tile
    size_t channels;                       // output channels, at least 1
    const int32_t *pixel_bias;             // ARM: NULL, or to add to the sums of each pixel
    uint8_t *spare;                        // to work in, a multiple of 64; the stack has no more
    size_t spare_bytes;
    int spare_kept; // 1: spare is as the call before left it, which had these weights too
    int8_t *y;      // of the first pixel
    size_t y_step;
    ei_requant requant; // within int8
    ei_weights_ahead *ahead;
} ei_packed_gemm_args;

/// y of all pixels and channels.
typedef void (*ei_packed_gemm_fn)(const ei_packed_gemm_args *args);

/// The bias that a tier's product starts from: 16 values for each of `tiles` tiles.
typedef void (*ei_packed_gemm_bias_fn)(int32_t *out, const int32_t *bias, const int8_t *weights,
                                       size_t tiles, size_t tile_bytes);

/// Brings `count` int8 values into the form of a patch.
typedef void (*ei_patch_copy_fn)(uint8_t *out, const int8_t *x, size_t count);

/// A tier: how it wants patches and multiplies them.
typedef struct ei_packed_gemm {
    size_t value_bytes; // of a value in a patch
    int reads_input; // 1: input values are in its form as they are, and it reads 4 * groups, no more
    size_t tile_pixels; // of the largest tiles
    int pairs_rows;     // 1: takes second_segments, of EI_LEAST_PAIRED to EI_MOST_PAIRED pixels
    ei_patch_copy_fn copy;
    ei_packed_gemm_bias_fn bias;
    ei_packed_gemm_fn multiply;
    /// For multipliers of 1 and more, when `multiply` takes smaller ones only; else NULL.
    const struct ei_packed_gemm *any_multiplier;
    /// Whether `multiply` takes these weights, and who takes others; NULL when it takes all.
    int (*takes)(const int8_t *weights, size_t bytes);
    const struct ei_packed_gemm *any_weights;
} ei_packed_gemm;

/// Output channels, whole tiles of 16, whose weights are used for all pixels before those of the next
/// ones are.
size_t ei_block_channels(size_t channels, size_t tile_bytes);

/// The same tier's, or another one that takes these multipliers, 16 for each tile of channels.
const ei_packed_gemm *ei_packed_gemm_for(const ei_packed_gemm *gemm, const float *multiplier,
                                         size_t channels);

/// The same tier's, or another one that takes these weights, which `pixels` are to meet: the same
/// patches and bias serve both.
const ei_packed_gemm *ei_packed_gemm_taking(const ei_packed_gemm *gemm, const int8_t *weights,
                                            size_t bytes, size_t pixels);

/// Pixels of k input values that lie one after the other in rows, and n output channels.
typedef struct ei_pixel_rows {
    ei_rows x, y;
    size_t pixels; // of a row
    size_t k, n;
    size_t y_step;         // bytes from one output pixel to the next
    const int8_t *weights; // one segment of k
    const int32_t *bias;
    const float *multiplier;
    ei_requant requant;
    ei_weights_hint later;
} ei_pixel_rows;

/// Whether a pixel of k values fits a patch.
int ei_pixel_rows_fit(const ei_packed_gemm *gemm, size_t k);

/// Rows [begin, end) of y from the same rows of x. The pixel must fit.
void ei_multiply_pixel_rows(const ei_packed_gemm *gemm, const ei_pixel_rows *job, uint32_t begin,
                            uint32_t end);

/// int16, as vpmaddwd wants them; the bias stays as it is.
extern const ei_packed_gemm ei_packed_gemm_avx2;

/// Unsigned bytes x + 128, as vpdpbusd wants its first operand: bias - 128 * sum of weights.
extern const ei_packed_gemm ei_packed_gemm_avxvnni;
extern const ei_packed_gemm ei_packed_gemm_avx512vnni;

/// int8 and the bias as they are.
extern const ei_packed_gemm ei_packed_gemm_neon;       // any weights
extern const ei_packed_gemm ei_packed_gemm_pairs_neon; // no -128, else the one above
extern const ei_packed_gemm ei_packed_gemm_dotprod;
extern const ei_packed_gemm ei_packed_gemm_i8mm;

#endif
