/// requantize.h for vectors of ARM, bit for bit.
///
/// 32-bit ARM's vectors flush subnormal numbers to zero, and cannot round to the nearest integer. The
/// first changes no result: what is below 2^-126 rounds to 0 either way. The second is ei_round_small().
#ifndef EI_KERNELS_REQUANTIZE_NEON_H
#define EI_KERNELS_REQUANTIZE_NEON_H

#include <arm_neon.h>

#include "kernels/requantize.h"
#include "kernels/unroll.h"

enum { EI_CLAMPS_LOW = 1, EI_CLAMPS_HIGH = 2 };

typedef struct ei_requant_neon {
    int16x8_t zero_point;
    int8x16_t low, high;
    int clamps; // to which end of less than int8 holds: EI_CLAMPS_LOW, EI_CLAMPS_HIGH
} ei_requant_neon;

/// `requant` within int8.
static inline ei_requant_neon ei_requant_neon_of(const ei_requant *requant) {
    return (ei_requant_neon){
        .zero_point = vdupq_n_s16((int16_t)requant->zero_point),
        .low = vdupq_n_s8((int8_t)requant->clamp_min),
        .high = vdupq_n_s8((int8_t)requant->clamp_max),
        .clamps = (requant->clamp_min > INT8_MIN ? EI_CLAMPS_LOW : 0) |
                  (requant->clamp_max < INT8_MAX ? EI_CLAMPS_HIGH : 0),
    };
}

/// rne(x), x being no NaN. What is beyond 2^20 may become anything beyond it on the same side.
static inline int32x4_t ei_round_neon(float32x4_t x) {
#if defined(__aarch64__)
    return vcvtnq_s32_f32(x); // saturates
#else
    const float32x4_t limit = vdupq_n_f32(1048576.0f);
    const float32x4_t magic = vdupq_n_f32(12582912.0f);
    const float32x4_t small = vminq_f32(vmaxq_f32(x, vnegq_f32(limit)), limit);
    const int32x4_t bits = vreinterpretq_s32_f32(vaddq_f32(small, magic));
    return vsubq_s32(bits, vreinterpretq_s32_f32(magic));
#endif
}

/// Rounds scaled sums to int32. The narrowing in ei_pack_neon() saturates what is out of range.
static inline int32x4_t ei_scale_neon(int32x4_t acc, float32x4_t multiplier) {
    return ei_round_neon(vmulq_f32(vcvtq_f32_s32(acc), multiplier));
}

/// Eight values that ei_scale_neon() gave, as int16 with the zero point.
static inline int16x8_t ei_narrow_neon(int32x4_t a, int32x4_t b, int16x8_t zero_point) {
    return vqaddq_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)), zero_point);
}

/// Clamps `count` vectors, a constant, of what saturated to int8.
EI_ALWAYS_INLINE void ei_clamp_neon(int8x16_t *y, const int count, const ei_requant_neon *requant) {
    if (requant->clamps == 0) {
        return;
    }
    if (requant->clamps & EI_CLAMPS_LOW) {
        EI_UNROLL
        for (int i = 0; i < count; i++) {
            y[i] = vmaxq_s8(y[i], requant->low);
        }
    }
    if (requant->clamps & EI_CLAMPS_HIGH) {
        EI_UNROLL
        for (int i = 0; i < count; i++) {
            y[i] = vminq_s8(y[i], requant->high);
        }
    }
}

/// Sixteen values of y.
static inline int8x16_t ei_pack_neon(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d,
                                     const ei_requant_neon *requant) {
    const int16x8_t ab = ei_narrow_neon(a, b, requant->zero_point);
    const int16x8_t cd = ei_narrow_neon(c, d, requant->zero_point);
    const int8x16_t bytes = vcombine_s8(vqmovn_s16(ab), vqmovn_s16(cd));
    return vminq_s8(vmaxq_s8(bytes, requant->low), requant->high);
}

#endif
