/// From the sum of what a window sees to its mean: the formulas of pool2d.h.
#ifndef EI_KERNELS_POOL2D_MEAN_H
#define EI_KERNELS_POOL2D_MEAN_H

#include "kernels/requantize.h"

typedef struct ei_mean {
    int64_t count;    // the divisor
    int64_t zero_sum; // taps inside * in_zero_point
    float multiplier; // the operator's / count
} ei_mean;

static inline ei_mean ei_mean_make(int64_t count, int64_t zero_sum, float multiplier) {
    return (ei_mean){count, zero_sum, multiplier / (float)count};
}

static inline int32_t ei_mean_of(int64_t sum, const ei_mean *mean, int integer_mean,
                                 const ei_requant *requant) {
    if (!integer_mean) {
        return ei_requantize((float)(sum - mean->zero_sum) * mean->multiplier, requant);
    }
    const int64_t half = mean->count / 2;
    const int64_t value = (sum + (sum > 0 ? half : -half)) / mean->count;
    const int64_t low = requant->clamp_min;
    const int64_t high = requant->clamp_max;
    return (int32_t)(value < low ? low : (value > high ? high : value));
}

#endif
