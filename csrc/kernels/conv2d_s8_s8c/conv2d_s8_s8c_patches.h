/// conv2d_s8_s8c by way of patches (kernels/packed_gemm), for the tiers that have such a product.
#ifndef EI_KERNELS_CONV2D_S8_S8C_PATCHES_H
#define EI_KERNELS_CONV2D_S8_S8C_PATCHES_H

#include "kernels/conv2d_s8_s8c/conv2d_s8_s8c.h"
#include "kernels/packed_gemm/packed_gemm.h"

/// As ei_conv2d_s8_s8c_fn. A window that no patch holds, 48 KiB of input, is left to the scalar
/// version.
void ei_conv2d_s8_s8c_patches(const ei_packed_gemm *gemm, const ei_conv2d_s8_s8c_args *args,
                              uint32_t begin, uint32_t end);

#endif
