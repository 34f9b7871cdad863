#include "kernels/min_max/min_max.h"

#define EI_MIN_MAX(name, type, is_better)                                                          \
    void name(const ei_binary_run *run) {                                                          \
        const type *a = run->a;                                                                    \
        const type *b = run->b;                                                                    \
        type *y = run->y;                                                                          \
        const size_t count = run->count;                                                           \
        const size_t a_step = run->a_step;                                                         \
        const size_t b_step = run->b_step;                                                         \
        for (size_t i = 0; i < count; i++) {                                                       \
            const type left = a[i * a_step];                                                       \
            const type right = b[i * b_step];                                                      \
            y[i] = left is_better right ? left : right;                                            \
        }                                                                                          \
    }

EI_MIN_MAX(ei_maximum_s8_scalar, int8_t, >)
EI_MIN_MAX(ei_maximum_u8_scalar, uint8_t, >)
EI_MIN_MAX(ei_maximum_s16_scalar, int16_t, >)
EI_MIN_MAX(ei_maximum_s32_scalar, int32_t, >)
EI_MIN_MAX(ei_minimum_s8_scalar, int8_t, <)
EI_MIN_MAX(ei_minimum_u8_scalar, uint8_t, <)
EI_MIN_MAX(ei_minimum_s16_scalar, int16_t, <)
EI_MIN_MAX(ei_minimum_s32_scalar, int32_t, <)
