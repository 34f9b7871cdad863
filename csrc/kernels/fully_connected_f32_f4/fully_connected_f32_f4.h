/// Matrix of constant weights of four bits times vectors of float32, which are rounded to int8 with a scale
/// of their own:
///
///     m       = largest |x[i]| of the vector
///     scale   = m / 127
///     q[i]    = rne(x[i] * (127 / m)), of which none is beyond 127
///     y[n]    = bounded(fma(sum over i < k of w[n, i] * q[i], scale * multiplier[n], bias[n]))
///
/// each operation in float32, in this order; the sum is that of kernels/packed_gemm_s8_f4, from +0 on, and
/// the bounds are those of kernels/float_tile.h. Where m < 2^-119, scale and q are 0; where m is an infinity
/// or any x a NaN, q is 0 and scale NaN, so that every y is NaN.
#ifndef EI_KERNELS_FULLY_CONNECTED_F32_F4_H
#define EI_KERNELS_FULLY_CONNECTED_F32_F4_H

#include "kernels/float_tile.h"
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
#include "kernels/rows.h"

/// To compute a range of the output channels: n counts those of the range, y.base, weights, bias and
/// multiplier point to its first tile of 16, y_step stays.
typedef struct ei_fully_connected_f32_f4_args {
    ei_rows x;               // vectors * k floats each
    ei_rows y;               // vectors * y_step floats each; shares no byte with x
    uint32_t vectors;        // per row
    uint32_t k;              // input channels
    uint32_t n;              // output channels
    size_t y_step;           // values from one vector of y to the next: n or more
    const uint8_t *weights;  // tiles of packed_gemm_s8_f4.h
    const float *bias;       // [n rounded up to 16]
    const float *multiplier; // as bias, finite
    ei_f4_scheme scheme;
    ei_bounds_f32 bounds;
} ei_fully_connected_f32_f4_args;

/// Computes rows [begin, end) of y from the same rows of x, by a tier's product.
typedef void (*ei_fully_connected_f32_f4_fn)(const ei_fully_connected_f32_f4_args *args,
                                             ei_packed_gemm_s8_f4_fn gemm, uint32_t begin,
                                             uint32_t end);

void ei_fully_connected_f32_f4_scalar(const ei_fully_connected_f32_f4_args *args,
                                      ei_packed_gemm_s8_f4_fn gemm, uint32_t begin, uint32_t end);
void ei_fully_connected_f32_f4_avx2(const ei_fully_connected_f32_f4_args *args,
                                    ei_packed_gemm_s8_f4_fn gemm, uint32_t begin, uint32_t end);

#endif
