/// fully_connected_s8_s8c by way of patches (kernels/packed_gemm), for the tiers that have such a
/// product.
#ifndef EI_KERNELS_FULLY_CONNECTED_S8_S8C_PATCHES_H
#define EI_KERNELS_FULLY_CONNECTED_S8_S8C_PATCHES_H

#include "kernels/fully_connected_s8_s8c/fully_connected_s8_s8c.h"
#include "kernels/packed_gemm/packed_gemm.h"

/// As ei_fully_connected_s8_s8c_fn. Vectors that no patch holds, of more than 48 KiB, are left to the
/// scalar version.
void ei_fully_connected_s8_s8c_patches(const ei_packed_gemm *gemm,
                                       const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                       uint32_t end);

#endif
