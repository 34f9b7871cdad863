/// The comparisons of min_max.h, for every tier (kernels/blocks.h).
#ifndef EI_KERNELS_MIN_MAX_BLOCKS_H
#define EI_KERNELS_MIN_MAX_BLOCKS_H

#include "kernels/blocks.h"
#include "kernels/min_max/min_max.h"

/// Defines `name`, and `blocks_name` that it runs.
#define EI_MIN_MAX(name, blocks_name, type, is_better)                                             \
    static void blocks_name(const ei_binary_blocks *blocks, const void *args) {                    \
        (void)args;                                                                                \
        const type *a = blocks->a;                                                                 \
        const type *b = blocks->b;                                                                 \
        type *y = blocks->y;                                                                       \
        const size_t count = blocks->count;                                                        \
        const size_t a_step = blocks->a_step;                                                      \
        const size_t b_step = blocks->b_step;                                                      \
        for (size_t n = 0; n < count; n++, a += a_step, b += b_step, y += EI_BLOCK) {              \
            EI_SIDE_BY_SIDE                                                                        \
            for (size_t i = 0; i < EI_BLOCK; i++) {                                                \
                const type left = a[i];                                                            \
                const type right = b[i];                                                           \
                y[i] = left is_better right ? left : right;                                        \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    void name(const ei_binary_run *run) {                                                          \
        ei_binary_in_blocks(run, sizeof(type), blocks_name, NULL);                                 \
    }

#endif
