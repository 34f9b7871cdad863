/// The one way from an accumulator to a stored activation (docs/internals/numerics.md).
#ifndef EI_KERNELS_REQUANTIZE_H
#define EI_KERNELS_REQUANTIZE_H

#include <stdint.h>
#include <string.h>

/// Output side of a quantised operator. clamp_min <= zero_point' <= clamp_max need not hold: the clamp is applied last.
typedef struct ei_requant {
    int32_t zero_point;
    int32_t clamp_min, clamp_max; // quantised units, within int16
} ei_requant;

/// Round to nearest even of |x| <= 2^22: the lowest bits of x + 1.5 * 2^23. No call, the same bits
/// everywhere, and every step an instruction on vectors.
static inline int32_t ei_round_small(float x) {
    const float magic = 12582912.0f;
    const float sum = x + magic; // rounds x to a whole number
    int32_t bits;
    int32_t magic_bits;
    memcpy(&bits, &sum, sizeof bits);
    memcpy(&magic_bits, &magic, sizeof magic_bits);
    return bits - magic_bits;
}

/// clamp(rne(scaled) + zero_point), saturating; scaled may be infinite but not NaN.
static inline int32_t ei_requantize(float scaled, const ei_requant *q) {
    const float low = (float)(q->clamp_min - q->zero_point);
    const float high = (float)(q->clamp_max - q->zero_point);
    const float raised = scaled < low ? low : scaled;
    const float clamped = raised > high ? high : raised;
    return ei_round_small(clamped) + q->zero_point;
}

#endif
