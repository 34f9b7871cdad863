/// Matrix of constant weights times vectors, int8 activations, int8 weights per output channel:
///
///     y[n] = requantize(bias[n] + sum over i < k of w[n, i] * x[i])        for every vector x
///
/// Sums are taken modulo 2^32; exact while |bias| + 2^14 * k < 2^31.
#ifndef EI_KERNELS_FULLY_CONNECTED_S8_S8C_H
#define EI_KERNELS_FULLY_CONNECTED_S8_S8C_H

#include "kernels/packed_tile.h"
#include "kernels/requantize.h"
#include "kernels/rows.h"

/// To compute a range of the output channels: n counts those of the range, y.base, weights, bias and
/// multiplier point to its first tile of 16, y_step stays.
typedef struct ei_fully_connected_s8_s8c_args {
    ei_rows x;               // vectors * k int8 each
    ei_rows y;               // vectors * y_step int8 each; shares no byte with x
    uint32_t vectors;        // per row
    uint32_t k;              // input channels
    uint32_t n;              // output channels
    size_t y_step;           // values from one vector of y to the next: n or more
    const int8_t *weights;   // [n/16][k/4][16][4], one segment of k
    const int32_t *bias;     // [n rounded up to 16], zero point folded in
    const float *multiplier; // as bias, finite
    ei_requant requant;      // within int8
    ei_weights_hint later;
} ei_fully_connected_s8_s8c_args;

/// Computes rows [begin, end) of y from the same rows of x.
typedef void (*ei_fully_connected_s8_s8c_fn)(const ei_fully_connected_s8_s8c_args *args,
                                             uint32_t begin, uint32_t end);

void ei_fully_connected_s8_s8c_scalar(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                      uint32_t end);
void ei_fully_connected_s8_s8c_avx2(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                    uint32_t end);
void ei_fully_connected_s8_s8c_avxvnni(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                       uint32_t end);
void ei_fully_connected_s8_s8c_avx512vnni(const ei_fully_connected_s8_s8c_args *args,
                                          uint32_t begin, uint32_t end);
void ei_fully_connected_s8_s8c_neon(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                    uint32_t end);
void ei_fully_connected_s8_s8c_dotprod(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                       uint32_t end);
void ei_fully_connected_s8_s8c_i8mm(const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                    uint32_t end);

#endif
