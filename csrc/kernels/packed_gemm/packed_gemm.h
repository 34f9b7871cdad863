/// Matrix product of patches and packed weights: what conv2d and fully_connected come down to on x86.
///
/// A patch holds input values in a small buffer on the stack, in the form that a tier's multiplier
/// takes them (below), with the pixels beside the image filled in. Output pixel m reads, from kernel
/// row r and segment s,
///
///     rows[r] + m * pixel_step + s * segment_step + 0 .. 4 * groups
///
/// in values; what a segment reads beyond its end meets weights that are 0. Neither gather nor
/// product ever reads outside of rows, weights, bias and multipliers.
#ifndef EI_KERNELS_PACKED_GEMM_H
#define EI_KERNELS_PACKED_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/requantize.h"
#include "kernels/rows.h"

#define EI_PATCH_BYTES    (24 * 1024) // half of the smallest L1 data cache that is common
#define EI_PATCH_SLACK    64          // of them for what segments read beyond their ends
#define EI_PATCH_ROWS     64          // kernel rows
#define EI_PATCH_CHANNELS 1024        // output channels whose bias is prepared at a time

typedef struct ei_packed_gemm_args {
    const uint8_t *const *rows; // of kernel rows: the first pixel's values
    size_t row_count;
    size_t segments;         // of a kernel row
    size_t segment_step;     // bytes
    size_t groups;           // of four values, in a segment
    size_t pixel_step;       // bytes
    size_t pixels;           // at least 1
    const int8_t *weights;   // of the first tile of 16 output channels
    size_t tile_bytes;       // of weights
    const int32_t *bias;     // 16 per tile, from ei_packed_gemm_bias_<tier>()
    const float *multiplier; // 16 per tile
    size_t channels;         // output channels, at least 1
    int8_t *y;               // of the first pixel
    size_t y_step;
    ei_requant requant; // within int8
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
    ei_patch_copy_fn copy;
    ei_packed_gemm_bias_fn bias;
    ei_packed_gemm_fn multiply;
} ei_packed_gemm;

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

#endif
