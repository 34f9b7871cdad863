/// The arithmetic of convert.h, for every tier (kernels/blocks.h).
#ifndef EI_KERNELS_CONVERT_BLOCKS_H
#define EI_KERNELS_CONVERT_BLOCKS_H

#include "kernels/blocks.h"
#include "kernels/convert/convert.h"

static inline int32_t ei_quantize_scaled(float scaled, const ei_requant *out) {
    return ei_requantize(scaled != scaled ? 0.0f : scaled, out); // NaN differs from itself
}

/// Defines `name`. One loop would divide where it need not.
#define EI_QUANTIZE_BLOCKS(name, type)                                                             \
    static void name(const void *x_blocks, void *y_blocks, size_t count, const void *args_) {      \
        const ei_quantize_args args = *(const ei_quantize_args *)args_;                            \
        const float *x = x_blocks;                                                                 \
        type *y = y_blocks;                                                                        \
        for (size_t n = 0; n < count; n++, x += EI_BLOCK, y += EI_BLOCK) {                         \
            if (args.divide) {                                                                     \
                EI_SIDE_BY_SIDE                                                                    \
                for (size_t i = 0; i < EI_BLOCK; i++) {                                            \
                    y[i] = (type)ei_quantize_scaled(x[i] / args.factor, &args.out);                \
                }                                                                                  \
            } else {                                                                               \
                EI_SIDE_BY_SIDE                                                                    \
                for (size_t i = 0; i < EI_BLOCK; i++) {                                            \
                    y[i] = (type)ei_quantize_scaled(x[i] * args.factor, &args.out);                \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

typedef struct ei_dequantize_args {
    int32_t zero_point;
    float scale;
} ei_dequantize_args;

/// Defines `name`. `wide` holds the difference exactly and can be converted by vectors.
#define EI_DEQUANTIZE_BLOCKS(name, type, wide)                                                     \
    static void name(const void *x_blocks, void *y_blocks, size_t count, const void *args_) {      \
        const ei_dequantize_args args = *(const ei_dequantize_args *)args_;                        \
        const type *x = x_blocks;                                                                  \
        float *y = y_blocks;                                                                       \
        for (size_t n = 0; n < count; n++, x += EI_BLOCK, y += EI_BLOCK) {                         \
            EI_SIDE_BY_SIDE                                                                        \
            for (size_t i = 0; i < EI_BLOCK; i++) {                                                \
                y[i] = (float)((wide)x[i] - args.zero_point) * args.scale;                         \
            }                                                                                      \
        }                                                                                          \
    }

#endif
