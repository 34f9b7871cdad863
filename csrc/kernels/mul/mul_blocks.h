/// The arithmetic of mul.h, for every tier (kernels/blocks.h).
#ifndef EI_KERNELS_MUL_BLOCKS_H
#define EI_KERNELS_MUL_BLOCKS_H

#include "kernels/blocks.h"
#include "kernels/mul/mul.h"

/// Defines `name`. `wide` holds a product exactly and can be converted by vectors.
#define EI_MUL_BLOCKS(name, type, wide)                                                            \
    static void name(const ei_binary_blocks *blocks, const void *mul_args) {                       \
        const ei_mul_args args = *(const ei_mul_args *)mul_args;                                   \
        const type *a = blocks->a;                                                                 \
        const type *b = blocks->b;                                                                 \
        type *y = blocks->y;                                                                       \
        const size_t count = blocks->count;                                                        \
        const size_t a_step = blocks->a_step;                                                      \
        const size_t b_step = blocks->b_step;                                                      \
        for (size_t n = 0; n < count; n++, a += a_step, b += b_step, y += EI_BLOCK) {              \
            EI_SIDE_BY_SIDE                                                                        \
            for (size_t i = 0; i < EI_BLOCK; i++) {                                                \
                const wide product =                                                               \
                    (wide)(a[i] - args.a_zero_point) * (b[i] - args.b_zero_point);                 \
                y[i] = (type)ei_requantize((float)product * args.multiplier, &args.out);           \
            }                                                                                      \
        }                                                                                          \
    }

#endif
