/// A row of a table of four bits in blocks, as float32:
///
///     y[k] = ((float)w2[k] * scale(block of k)) * multiplier,   NaN as 0x7fc00000
///
/// each product rounded once; w2, scale and the packed layout are those of
/// kernels/packed_gemm_s8_f4, a row of the table being an output channel. So the weights of a product
/// serve as a table too. One row is 4 of 64 bytes, times the pieces of K: few bytes beside what
/// products read, so all tiers run this scalar version.
#ifndef EI_KERNELS_EMBEDDING_F32_F4_H
#define EI_KERNELS_EMBEDDING_F32_F4_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"

/// y[0 .. k) becomes row `row` of the table, whose first tile `tiles` points to.
void ei_embedding_f32_f4_scalar(float *y, size_t k, const uint8_t *tiles, size_t row,
                                float multiplier, ei_f4_scheme scheme);

#endif
