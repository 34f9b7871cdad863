/// The arithmetic of add.h, for every tier (kernels/blocks.h).
#ifndef EI_KERNELS_ADD_BLOCKS_H
#define EI_KERNELS_ADD_BLOCKS_H

#include "kernels/add/add.h"
#include "kernels/blocks.h"

/// Defines `name`. The clamp comes before the zero point: the sum of any int32 and a zero point may
/// overflow.
#define EI_ADD_BLOCKS(name, type, wide)                                                            \
    static void name(const ei_binary_blocks *blocks, const void *add_args) {                       \
        const ei_add_args *args = add_args;                                                        \
        const type *a = blocks->a;                                                                 \
        const type *b = blocks->b;                                                                 \
        type *y = blocks->y;                                                                       \
        const wide a_multiplier = args->a_multiplier;                                              \
        const wide b_multiplier = args->b_multiplier;                                              \
        const wide bias = (wide)args->bias;                                                        \
        const uint32_t shift = args->shift;                                                        \
        const int32_t zero_point = args->zero_point;                                               \
        const wide low = args->clamp_min - zero_point;                                             \
        const wide high = args->clamp_max - zero_point;                                            \
        const size_t count = blocks->count;                                                        \
        const size_t a_step = blocks->a_step;                                                      \
        const size_t b_step = blocks->b_step;                                                      \
        for (size_t n = 0; n < count; n++, a += a_step, b += b_step, y += EI_BLOCK) {              \
            EI_SIDE_BY_SIDE                                                                        \
            for (size_t i = 0; i < EI_BLOCK; i++) {                                                \
                const wide value = (a[i] * a_multiplier + b[i] * b_multiplier + bias) >> shift;    \
                const wide raised = value < low ? low : value;                                     \
                const wide clamped = raised > high ? high : raised;                                \
                y[i] = (type)(clamped + zero_point);                                               \
            }                                                                                      \
        }                                                                                          \
    }

#endif
