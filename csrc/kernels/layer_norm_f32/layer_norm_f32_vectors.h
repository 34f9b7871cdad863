/// The arithmetic of layer_norm_f32.h, for every tier (kernels/vector_f32.h).
#ifndef EI_KERNELS_LAYER_NORM_F32_VECTORS_H
#define EI_KERNELS_LAYER_NORM_F32_VECTORS_H

#include "kernels/layer_norm_f32/layer_norm_f32.h"
#include "kernels/vector_f32.h"

/// The sum of x, or of squared distances from `mean`.
EI_ALWAYS_INLINE float ei_moment(const float *x, size_t size, float mean, int squares) {
    ei_f32v parts[EI_PARTS];
    for (int p = 0; p < EI_PARTS; p++) {
        parts[p] = ei_splat(0.0f);
    }
    for (size_t at = 0; at < size; at += 16) {
        EI_UNROLL
        for (int p = 0; p < EI_PARTS; p++) {
            const size_t first = at + (size_t)p * EI_LANES;
            if (EI_PARTS > 1 && first >= size) {
                break;
            }
            if (squares) {
                const ei_f32v d = ei_load_or(x + first, size - first, mean) - mean;
                parts[p] = ei_fma(d, d, parts[p]);
            } else {
                parts[p] += ei_load_or(x + first, size - first, 0.0f);
            }
        }
    }
    return ei_sum_parts(parts);
}

EI_ALWAYS_INLINE void ei_normalize(const ei_layer_norm_f32_args *args, const float *x, float *y,
                                   float mean, float r) {
    const size_t size = args->size;
    for (size_t at = 0; at < size; at += EI_LANES) {
        const size_t left = size - at;
        ei_f32v v = (ei_load_or(x + at, left, 0.0f) - mean) * r;
        if (args->bias != NULL) {
            const ei_f32v scale =
                args->scale != NULL ? ei_load_or(args->scale + at, left, 0.0f) : ei_splat(1.0f);
            v = ei_fma(v, scale, ei_load_or(args->bias + at, left, 0.0f));
        } else if (args->scale != NULL) {
            v = v * ei_load_or(args->scale + at, left, 0.0f);
        }
        ei_store_part(y + at, left, ei_canonical(v));
    }
}

/// Defines `name`, the kernel of a tier.
#define EI_LAYER_NORM_F32(name)                                                                    \
    void name(const ei_layer_norm_f32_args *args) {                                                \
        const size_t size = args->size;                                                            \
        const float n = (float)size;                                                               \
        for (size_t i = 0; i < args->vectors; i++) {                                               \
            const float *x = args->x + i * size;                                                   \
            const float mean = args->centred ? ei_moment(x, size, 0.0f, 0) / n : 0.0f;             \
            const float variance = ei_moment(x, size, mean, 1) / n;                                \
            const float r = 1.0f / __builtin_sqrtf(variance + args->epsilon);                      \
            ei_normalize(args, x, args->y + i * size, mean, r);                                    \
        }                                                                                          \
    }

#endif
