/// Sums of whole images to what a global pool, or a sum over height and width, makes of them: the last step of
/// avg_pool2d (kernels/pool2d) and reduce_sum (kernels/reduce_sum), with their bits.
#ifndef EI_KERNELS_RESCALE_SUMS_H
#define EI_KERNELS_RESCALE_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/requantize.h"

/// How a sum becomes y. Numbers are those of the file.
typedef enum ei_rescaling {
    EI_RESCALE_SUM = 0,          // as reduce_sum does
    EI_RESCALE_MEAN = 1,         // as avg_pool2d does
    EI_RESCALE_INTEGER_MEAN = 2, // as avg_pool2d does with integer_mean
} ei_rescaling;

typedef struct ei_rescale_sums_args {
    const int32_t *x;
    void *y; // `count` elements; shares no byte with x
    size_t count;
    ei_rescaling kind;
    int32_t divisor;          // above 0
    int32_t zero_sum;         // what the sum of as many zero points is
    float multiplier, offset; // finite
    ei_requant requant;       // within y's dtype
} ei_rescale_sums_args;

/// EI_RESCALE_SUM:          y = clamp(rne((float)x * multiplier + offset) + zero_point)
/// EI_RESCALE_MEAN:         y = clamp(rne((float)(x - zero_sum) * (multiplier / (float)divisor)) + zero_point)
/// EI_RESCALE_INTEGER_MEAN: y = clamp((x + (x > 0 ? divisor / 2 : -(divisor / 2))) / divisor), towards zero
/// The difference is that of whole numbers, in int64; each operation on floats is one in float32.
typedef void (*ei_rescale_sums_fn)(const ei_rescale_sums_args *args);

void ei_rescale_sums_s8_scalar(const ei_rescale_sums_args *args);
void ei_rescale_sums_u8_scalar(const ei_rescale_sums_args *args);
void ei_rescale_sums_s16_scalar(const ei_rescale_sums_args *args);

#endif
