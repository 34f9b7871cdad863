/// The arithmetic of softmax.h, for every tier (kernels/blocks.h). The sum of a vector goes from one
/// element to the next, so it waits for each addition: four vectors are summed side by side. Looking
/// up exponentials is scalar, the rest of it not.
#ifndef EI_KERNELS_SOFTMAX_BLOCKS_H
#define EI_KERNELS_SOFTMAX_BLOCKS_H

#include <string.h>

#include "kernels/blocks.h"
#include "kernels/softmax/softmax.h"

#define EI_SUMS 4

/// e(largest - x).
static inline float ei_exponential_s8(const float *table, int32_t largest, int8_t x) {
    return table[(uint8_t)(largest - x)];
}

static inline float ei_exponential_s16(const float *table, int32_t largest, int16_t x) {
    const uint32_t d = (uint16_t)(largest - x);
    return table[d >> 8] * table[256 + (d & 255)];
}

/// e >= 0, so truncation is floor. What is above any clamp is cut first: the cast must not overflow.
static inline int32_t ei_softmax_quantize(float e, float inverse, const ei_softmax_args *args) {
    const float scaled = e * inverse;
    const float shifted = scaled + 0.5f;
    const int32_t value = (int32_t)(shifted > 131072.0f ? 131072.0f : shifted) + args->zero_point;
    const int32_t raised = value < args->clamp_min ? args->clamp_min : value;
    return raised > args->clamp_max ? args->clamp_max : raised;
}

/// A block of y from its exponentials.
static void ei_softmax_finish(const ei_softmax_args *args, const float *e, float sum,
                              void *y_block) {
    const ei_softmax_args local = *args;
    const float denominator = sum * local.out_scale;
    const float inverse = 1.0f / denominator; // not for float32, which has no out_scale
    if (local.y_bytes == 4) {
        float *y = y_block;
        EI_SIDE_BY_SIDE
        for (size_t i = 0; i < EI_BLOCK; i++) {
            y[i] = e[i] / sum;
        }
    } else if (local.y_bytes == 2) {
        int16_t *y = y_block;
        EI_SIDE_BY_SIDE
        for (size_t i = 0; i < EI_BLOCK; i++) {
            y[i] = (int16_t)ei_softmax_quantize(e[i], inverse, &local);
        }
    } else {
        uint8_t *y = y_block;
        EI_SIDE_BY_SIDE
        for (size_t i = 0; i < EI_BLOCK; i++) {
            y[i] = (uint8_t)ei_softmax_quantize(e[i], inverse, &local);
        }
    }
}

/// Defines `name`: the largest element of a vector. The last block overlaps the one before.
#define EI_SOFTMAX_LARGEST(name, type)                                                             \
    static int32_t name(const type *x, size_t size) {                                              \
        type best[EI_BLOCK];                                                                       \
        if (size < EI_BLOCK) {                                                                     \
            type largest = x[0];                                                                   \
            EI_ONE_BY_ONE                                                                          \
            for (size_t i = 1; i < size; i++) {                                                    \
                largest = x[i] > largest ? x[i] : largest;                                         \
            }                                                                                      \
            return largest;                                                                        \
        }                                                                                          \
        memcpy(best, x, sizeof best);                                                              \
        for (size_t n = EI_BLOCK; n < size; n += EI_BLOCK) {                                       \
            const type *block = x + (n + EI_BLOCK <= size ? n : size - EI_BLOCK);                  \
            for (size_t i = 0; i < EI_BLOCK; i++) {                                                \
                best[i] = block[i] > best[i] ? block[i] : best[i];                                 \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = 0; i < 32; i++) {                                                          \
            best[i] = best[i + 32] > best[i] ? best[i + 32] : best[i];                             \
        }                                                                                          \
        for (size_t i = 0; i < 16; i++) {                                                          \
            best[i] = best[i + 16] > best[i] ? best[i + 16] : best[i];                             \
        }                                                                                          \
        for (size_t i = 0; i < 8; i++) {                                                           \
            best[i] = best[i + 8] > best[i] ? best[i + 8] : best[i];                               \
        }                                                                                          \
        type largest = best[0];                                                                    \
        EI_ONE_BY_ONE                                                                              \
        for (size_t i = 1; i < 8; i++) {                                                           \
            largest = best[i] > largest ? best[i] : largest;                                       \
        }                                                                                          \
        return largest;                                                                            \
    }

/// Defines `name`. Element i of y may lie in the bytes of element i of x: a block is read before it
/// is written, and sums are taken before.
#define EI_SOFTMAX(name, largest_name, type, exponential)                                          \
    EI_SOFTMAX_LARGEST(largest_name, type)                                                         \
    void name(const ei_softmax_args *args) {                                                       \
        const size_t size = args->size;                                                            \
        const float *table = args->table;                                                          \
        for (size_t v = 0; v < args->vectors; v += EI_SUMS) {                                      \
            const size_t left = args->vectors - v;                                                 \
            const size_t vectors = left < EI_SUMS ? left : EI_SUMS;                                \
            const type *x[EI_SUMS];                                                                \
            int32_t largest[EI_SUMS];                                                              \
            for (size_t n = 0; n < EI_SUMS; n++) {                                                 \
                x[n] = (const type *)args->x + (v + (n < vectors ? n : 0)) * size;                 \
                largest[n] = n < vectors ? largest_name(x[n], size) : largest[0];                  \
            }                                                                                      \
            float sum0 = 0.0f, sum1 = 0.0f, sum2 = 0.0f, sum3 = 0.0f;                              \
            EI_ONE_BY_ONE                                                                          \
            for (size_t i = 0; i < size; i++) {                                                    \
                sum0 += exponential(table, largest[0], x[0][i]);                                   \
                sum1 += exponential(table, largest[1], x[1][i]);                                   \
                sum2 += exponential(table, largest[2], x[2][i]);                                   \
                sum3 += exponential(table, largest[3], x[3][i]);                                   \
            }                                                                                      \
            const float sums[EI_SUMS] = {sum0, sum1, sum2, sum3};                                  \
            for (size_t n = 0; n < vectors; n++) {                                                 \
                uint8_t *y = (uint8_t *)args->y + (v + n) * size * args->y_bytes;                  \
                for (size_t at = 0; at < size; at += EI_BLOCK) {                                   \
                    const size_t count = size - at < EI_BLOCK ? size - at : EI_BLOCK;              \
                    const type *block = x[n] + at;                                                 \
                    float e[EI_BLOCK], rest[EI_BLOCK];                                             \
                    if (count < EI_BLOCK) {                                                        \
                        memset(e, 0, sizeof e);                                                    \
                    }                                                                              \
                    EI_FOUR_BY_FOUR                                                                \
                    for (size_t i = 0; i < count; i++) {                                           \
                        e[i] = exponential(table, largest[n], block[i]);                           \
                    }                                                                              \
                    uint8_t *to = y + at * args->y_bytes;                                          \
                    ei_softmax_finish(args, e, sums[n], count == EI_BLOCK ? to : (void *)rest);    \
                    if (count < EI_BLOCK) {                                                        \
                        memcpy(to, rest, count * args->y_bytes);                                   \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

#endif
