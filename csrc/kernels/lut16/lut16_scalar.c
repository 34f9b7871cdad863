#include "kernels/lut16/lut16.h"

void ei_lut16_s16_scalar(const int16_t *x, const int16_t *table, int16_t *y, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const int16_t *entry = table + 256 + (x[i] >> 7);
        const int32_t slope = entry[1] - entry[0];
        y[i] = (int16_t)(entry[0] + ((slope * (x[i] & 127) + 64) >> 7));
    }
}
