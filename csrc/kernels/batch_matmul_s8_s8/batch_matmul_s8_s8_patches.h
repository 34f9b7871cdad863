/// The ARM tiers of batch_matmul_s8_s8, by way of kernels/packed_gemm: some columns of b at a time are
/// packed as weights are, on the stack, and every row of a is a pixel.
///
///     sum (a - za) * (b - zb) = sum a * b  -  za * sum b + k * za * zb  -  zb * sum a
///                                             of a column                  of a row
#ifndef EI_KERNELS_BATCH_MATMUL_S8_S8_PATCHES_H
#define EI_KERNELS_BATCH_MATMUL_S8_S8_PATCHES_H

#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8.h"
#include "kernels/packed_gemm/packed_gemm.h"

/// As ei_batch_matmul_s8_s8_fn. A tier whose patches hold int8 as it is. Where k is too large for a
/// column to be packed, above 2048, this is the scalar version.
void ei_batch_matmul_s8_s8_patches(const ei_packed_gemm *gemm,
                                   const ei_batch_matmul_s8_s8_args *args);

#endif
