#include "kernels/softmax/softmax.h"

static inline float exponential_s8(const float *table, int32_t d) {
    return table[d];
}

static inline float exponential_s16(const float *table, int32_t d) {
    return table[d >> 8] * table[256 + (d & 255)];
}

/// e >= 0, so truncation is floor. What is above any clamp is cut first: the cast must not overflow.
static inline int32_t quantize(float e, float inverse, const ei_softmax_args *args) {
    const float scaled = e * inverse;
    const float shifted = scaled + 0.5f;
    const int32_t value = (int32_t)(shifted < 131072.0f ? shifted : 131072.0f) + args->zero_point;
    return value < args->clamp_min ? args->clamp_min
                                   : (value > args->clamp_max ? args->clamp_max : value);
}

/// Stores that may lie in the bytes of x: element i of y is written after element i of x was read
/// for the last time.
static inline void store(const ei_softmax_args *args, size_t i, float e, float sum, float inverse) {
    if (args->y_bytes == 4) {
        ((float *)args->y)[i] = e / sum;
    } else if (args->y_bytes == 2) {
        ((int16_t *)args->y)[i] = (int16_t)quantize(e, inverse, args);
    } else {
        ((uint8_t *)args->y)[i] = (uint8_t)quantize(e, inverse, args);
    }
}

#define EI_SOFTMAX(name, type, exponential)                                                        \
    void name(const ei_softmax_args *args) {                                                       \
        const ei_softmax_args local = *args;                                                       \
        for (size_t v = 0; v < local.vectors; v++) {                                               \
            const size_t first = v * local.size;                                                   \
            const type *x = (const type *)local.x + first;                                         \
            int32_t largest = x[0];                                                                \
            for (size_t i = 1; i < local.size; i++) {                                              \
                largest = x[i] > largest ? x[i] : largest;                                         \
            }                                                                                      \
            float sum = 0.0f;                                                                      \
            for (size_t i = 0; i < local.size; i++) {                                              \
                sum += exponential(local.table, largest - x[i]);                                   \
            }                                                                                      \
            const float denominator = sum * local.out_scale;                                       \
            const float inverse = local.y_bytes == 4 ? 0.0f : 1.0f / denominator;                  \
            for (size_t i = 0; i < local.size; i++) {                                              \
                const float e = exponential(local.table, largest - x[i]);                          \
                store(&local, first + i, e, sum, inverse);                                         \
            }                                                                                      \
        }                                                                                          \
    }

EI_SOFTMAX(ei_softmax_s8_scalar, int8_t, exponential_s8)
EI_SOFTMAX(ei_softmax_s16_scalar, int16_t, exponential_s16)
