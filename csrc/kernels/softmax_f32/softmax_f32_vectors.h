/// The arithmetic of softmax_f32.h, for every tier (kernels/vector_f32.h).
#ifndef EI_KERNELS_SOFTMAX_F32_VECTORS_H
#define EI_KERNELS_SOFTMAX_F32_VECTORS_H

#include "kernels/math_f32.h"
#include "kernels/math_f64.h"
#include "kernels/softmax_f32/softmax_f32.h"

/// Some NaN in x may be passed over: the exponentials will not.
EI_ALWAYS_INLINE float ei_largest(const float *x, size_t size) {
    ei_f32v best = ei_splat(-__builtin_inff());
    for (size_t at = 0; at < size; at += EI_LANES) {
        best = ei_larger(ei_load_or(x + at, size - at, -__builtin_inff()), best);
    }
    float lanes[EI_LANES];
    ei_store(lanes, best);
    float largest = lanes[0];
    for (int i = 1; i < EI_LANES; i++) {
        largest = lanes[i] > largest ? lanes[i] : largest;
    }
    return largest;
}

/// The sum of the exponentials, which are stored unless y is NULL.
EI_ALWAYS_INLINE float ei_exponentials(const float *x, float *y, size_t size, float largest,
                                       float beta) {
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
            const ei_f32v v = ei_load_or(x + first, size - first, -__builtin_inff());
            const ei_f32v e = ei_exp((v - largest) * beta);
            if (y != NULL) {
                ei_store_part(y + first, size - first, e);
            }
            parts[p] += e;
        }
    }
    return ei_sum_parts(parts);
}

/// Defines `name`, the kernel of a tier.
#define EI_SOFTMAX_F32(name)                                                                       \
    void name(const ei_softmax_f32_args *args) {                                                   \
        const size_t size = args->size;                                                            \
        const float *x = args->x;                                                                  \
        float *y = args->y;                                                                        \
        for (size_t n = 0; n < args->vectors; n++, x += size, y += size) {                         \
            const float largest = ei_largest(x, size);                                             \
            const float sum =                                                                      \
                ei_exponentials(x, args->logarithm ? NULL : y, size, largest, args->beta);         \
            if (args->logarithm) {                                                                 \
                const float log_sum = (float)ei_log_f64((double)sum);                              \
                for (size_t at = 0; at < size; at += EI_LANES) {                                   \
                    const ei_f32v v = ei_load_or(x + at, size - at, 0.0f);                         \
                    const ei_f32v t = (v - largest) * args->beta;                                  \
                    ei_store_part(y + at, size - at, ei_canonical(t - log_sum));                   \
                }                                                                                  \
                continue;                                                                          \
            }                                                                                      \
            const float inverse = 1.0f / sum;                                                      \
            for (size_t at = 0; at < size; at += EI_LANES) {                                       \
                const ei_f32v e = ei_load_or(y + at, size - at, 0.0f);                             \
                ei_store_part(y + at, size - at, ei_canonical(e * inverse));                       \
            }                                                                                      \
        }                                                                                          \
    }

#endif
