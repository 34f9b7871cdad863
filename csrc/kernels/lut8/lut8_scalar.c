#include "kernels/blocks.h"
#include "kernels/lut8/lut8.h"

#define EI_LUT8(name, type)                                                                        \
    void name(const uint8_t *x, const void *table, void *y, size_t count) {                        \
        const type *entries = table;                                                               \
        type *out = y;                                                                             \
        EI_FOUR_BY_FOUR                                                                            \
        for (size_t i = 0; i < count; i++) {                                                       \
            out[i] = entries[x[i]];                                                                \
        }                                                                                          \
    }

EI_LUT8(ei_lut8_b1_scalar, uint8_t)
EI_LUT8(ei_lut8_b2_scalar, uint16_t)
EI_LUT8(ei_lut8_b4_scalar, uint32_t)
EI_LUT8(ei_lut8_b8_scalar, uint64_t)
