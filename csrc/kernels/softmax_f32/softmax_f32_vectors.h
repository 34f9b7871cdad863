/// The arithmetic of softmax_f32.h, for every tier (kernels/vector_f32.h).
#ifndef EI_KERNELS_SOFTMAX_F32_VECTORS_H
#define EI_KERNELS_SOFTMAX_F32_VECTORS_H

#include "kernels/math_f32.h"
#include "kernels/math_f64.h"
#include "kernels/softmax_f32/softmax_f32.h"

/// Some NaN in x may be passed over: the exponentials will not. In any order, which is the same but
/// for the sign of a zero, and that shows in no difference from it.
EI_ALWAYS_INLINE float ei_largest(const float *x, size_t size) {
    ei_f32v best[4];
    for (int i = 0; i < 4; i++) {
        best[i] = ei_splat(-__builtin_inff());
    }
    size_t at = 0;
    for (; at + 4 * EI_LANES <= size; at += 4 * EI_LANES) {
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            best[i] = ei_larger(ei_load(x + at + i * EI_LANES), best[i]);
        }
    }
    for (; at < size; at += EI_LANES) {
        best[0] = ei_larger(ei_load_or(x + at, size - at, -__builtin_inff()), best[0]);
    }
    best[0] = ei_larger(ei_larger(best[0], best[1]), ei_larger(best[2], best[3]));
    ei_f32x4 fours[EI_LANES / 4];
    memcpy(fours, best, sizeof fours);
    float largest = -__builtin_inff();
    for (int i = 0; i < 4; i++) {
        float lane = fours[0][i];
        for (int n = 1; n < EI_LANES / 4; n++) {
            lane = lane > fours[n][i] ? lane : fours[n][i];
        }
        largest = largest > lane ? largest : lane;
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
    size_t at = 0;
    for (; at + 16 <= size; at += 16) {
        ei_f32v e[EI_PARTS];
        EI_UNROLL
        for (int p = 0; p < EI_PARTS; p++) {
            e[p] = (ei_load(x + at + p * EI_LANES) - largest) * beta;
        }
        ei_exp_each(e, EI_PARTS);
        EI_UNROLL
        for (int p = 0; p < EI_PARTS; p++) {
            if (y != NULL) {
                ei_store(y + at + p * EI_LANES, e[p]);
            }
            parts[p] += e[p];
        }
    }
    for (int p = 0; at < size; at += EI_LANES, p++) {
        const ei_f32v v = ei_load_or(x + at, size - at, -__builtin_inff());
        const ei_f32v e = ei_exp((v - largest) * beta);
        if (y != NULL) {
            ei_store_part(y + at, size - at, e);
        }
        parts[p] += e;
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
