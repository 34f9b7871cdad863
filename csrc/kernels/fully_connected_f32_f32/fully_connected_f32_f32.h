/// Matrix of constant weights, float32 or float16, times vectors of float32:
///
///     y[n] = bounded(bias[n] + sum over i = 0 .. k - 1 of x[i] * w[n, i])      for every vector x
///
/// by fused multiply-adds, in this order (kernels/float_tile.h).
#ifndef EI_KERNELS_FULLY_CONNECTED_F32_F32_H
#define EI_KERNELS_FULLY_CONNECTED_F32_F32_H

#include "kernels/float_tile.h"
#include "kernels/rows.h"

/// To compute a range of the output channels: n counts those of the range, y.base, weights and bias
/// point to its first tile of 16, y_step stays.
typedef struct ei_fully_connected_f32_args {
    ei_rows x;           // vectors * k floats each
    ei_rows y;           // vectors * y_step floats each; shares no byte with x
    uint32_t vectors;    // per row
    uint32_t k;          // input channels
    uint32_t n;          // output channels
    size_t y_step;       // values from one vector of y to the next: n or more
    const void *weights; // [n / 16][k][16], finite
    const float *bias;   // [n rounded up to 16]
    ei_bounds_f32 bounds;
} ei_fully_connected_f32_args;

/// Computes rows [begin, end) of y from the same rows of x.
typedef void (*ei_fully_connected_f32_fn)(const ei_fully_connected_f32_args *args, uint32_t begin,
                                          uint32_t end);

void ei_fully_connected_f32_f32_scalar(const ei_fully_connected_f32_args *args, uint32_t begin,
                                       uint32_t end);
void ei_fully_connected_f32_f16_scalar(const ei_fully_connected_f32_args *args, uint32_t begin,
                                       uint32_t end);
void ei_fully_connected_f32_f32_avx2(const ei_fully_connected_f32_args *args, uint32_t begin,
                                     uint32_t end);
void ei_fully_connected_f32_f32_avx512vnni(const ei_fully_connected_f32_args *args, uint32_t begin,
                                           uint32_t end);
void ei_fully_connected_f32_f32_neon(const ei_fully_connected_f32_args *args, uint32_t begin,
                                     uint32_t end);
void ei_fully_connected_f32_f16_avx2(const ei_fully_connected_f32_args *args, uint32_t begin,
                                     uint32_t end);
void ei_fully_connected_f32_f16_avx512vnni(const ei_fully_connected_f32_args *args, uint32_t begin,
                                           uint32_t end);
void ei_fully_connected_f32_f16_neon(const ei_fully_connected_f32_args *args, uint32_t begin,
                                     uint32_t end);

#endif
