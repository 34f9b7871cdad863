#include "kernels/rescale_sums/rescale_sums.h"

#include "kernels/pool2d/pool2d_mean.h"
#include "kernels/reduce_sum/reduce_sum.h"

#define EI_RESCALE_SUMS(name, type)                                                                \
    void name(const ei_rescale_sums_args *args) {                                                  \
        const ei_mean mean = ei_mean_make(args->divisor, args->zero_sum, args->multiplier);        \
        const int integer_mean = args->kind == EI_RESCALE_INTEGER_MEAN;                            \
        type *y = args->y;                                                                         \
        for (size_t i = 0; i < args->count; i++) {                                                 \
            const int32_t sum = args->x[i];                                                        \
            y[i] = (type)(args->kind == EI_RESCALE_SUM                                             \
                              ? ei_rescale_sum((float)sum, args->multiplier, args->offset,         \
                                               &args->requant)                                     \
                              : ei_mean_of(sum, &mean, integer_mean, &args->requant));             \
        }                                                                                          \
    }

EI_RESCALE_SUMS(ei_rescale_sums_s8_scalar, int8_t)
EI_RESCALE_SUMS(ei_rescale_sums_u8_scalar, uint8_t)
EI_RESCALE_SUMS(ei_rescale_sums_s16_scalar, int16_t)
