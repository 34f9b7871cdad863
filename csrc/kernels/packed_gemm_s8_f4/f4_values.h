/// What codes of four bits and of their scales stand for, one at a time.
#ifndef EI_KERNELS_F4_VALUES_H
#define EI_KERNELS_F4_VALUES_H

#include <stdint.h>
#include <string.h>

#include "kernels/float_tile.h"
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"

/// Twice the E2M1 value of a code.
static const int8_t ei_f4_twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// A block's scale: that of NVFP4 times 2^-8.
static inline float ei_f4_scale(uint8_t code, ei_f4_scheme scheme) {
    if (scheme == EI_NVF4) {
        return ei_half((uint16_t)(code << 7)); // the exponents' biases are 7 and 15
    }
    const uint32_t bits = code == 0 ? 1u << 22 : (uint32_t)code << 23; // 2^-127 is subnormal
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

#endif
