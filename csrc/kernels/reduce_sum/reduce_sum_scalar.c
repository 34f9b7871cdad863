#include "kernels/reduce_sum/reduce_sum.h"

// Sums that are taken at once where neighbours in y begin at neighbours in x.
#define EI_BLOCK 64

/// Defines `name`. Both ways of it take the integers in any order: their sums are exact.
#define EI_REDUCE_SUM(name, type, sum_type)                                                        \
    void name(const ei_reduce_sum_args *args) {                                                    \
        const size_t *terms = args->terms;                                                         \
        const size_t *strides = args->strides;                                                     \
        const size_t width = args->step == 1 ? EI_BLOCK : 1;                                       \
        type *y = args->y;                                                                         \
        for (size_t first = 0; first < args->count; first += width) {                              \
            const size_t block = args->count - first < width ? args->count - first : width;        \
            const type *x = (const type *)args->x + first * args->step;                            \
            sum_type sums[EI_BLOCK] = {0};                                                         \
            for (size_t i = 0; i < terms[0]; i++) {                                                \
                for (size_t j = 0; j < terms[1]; j++) {                                            \
                    const type *row = x + i * strides[0] + j * strides[1];                         \
                    if (block == 1) {                                                              \
                        sum_type sum = 0;                                                          \
                        for (size_t k = 0; k < terms[2]; k++) {                                    \
                            sum += row[k * strides[2]];                                            \
                        }                                                                          \
                        sums[0] += sum;                                                            \
                        continue;                                                                  \
                    }                                                                              \
                    for (size_t k = 0; k < terms[2]; k++) {                                        \
                        for (size_t b = 0; b < block; b++) {                                       \
                            sums[b] += row[k * strides[2] + b];                                    \
                        }                                                                          \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
            for (size_t b = 0; b < block; b++) {                                                   \
                y[first + b] = (type)ei_rescale_sum((float)sums[b], args->multiplier,              \
                                                    args->offset, &args->out);                     \
            }                                                                                      \
        }                                                                                          \
    }

EI_REDUCE_SUM(ei_reduce_sum_s8_scalar, int8_t, int32_t)
EI_REDUCE_SUM(ei_reduce_sum_u8_scalar, uint8_t, int32_t)
EI_REDUCE_SUM(ei_reduce_sum_s16_scalar, int16_t, int64_t)
