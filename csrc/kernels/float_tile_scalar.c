#include "kernels/float_tile.h"

void ei_tile_add_f32(float acc[restrict EI_TILE_CHANNELS], const float *restrict w,
                     const float *restrict x, size_t count) {
    for (size_t k = 0; k < count; k++) {
        for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
            acc[n] = ei_exact_fma(x[k], w[k * EI_TILE_CHANNELS + n], acc[n]);
        }
    }
}

void ei_tile_add_f16(float acc[restrict EI_TILE_CHANNELS], const uint16_t *restrict w,
                     const float *restrict x, size_t count) {
    for (size_t k = 0; k < count; k++) {
        for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
            acc[n] = ei_exact_fma(x[k], ei_half(w[k * EI_TILE_CHANNELS + n]), acc[n]);
        }
    }
}
