// smull, smlal: left * (one - w) + right * w, sixteen channels at a time. Where the last sixteen are not
// whole, they overlap the ones before. Pixels of fewer channels, and weights of so many bits that int32
// does not hold the sums, are the scalar version's.
#include <arm_neon.h>

#include "kernels/resize_bilinear/resize_bilinear.h"
#include "kernels/unroll.h"

#define EI_CHANNELS 16

// |v| + half <= 255 * 2^(2 * 11) + 2^21
#define EI_MAX_NARROW_BITS 11

typedef struct bilinear_constants {
    int8x16_t flip;        // makes x signed: the mean of x - 128 is the mean of x, less 128
    int16x4_t left, right; // weights of the pixels
    int32x4_t lower;       // weight of the bottom row
    int32x4_t half, away;
    int32x4_t fraction_bits, shift; // to the left: one of them is negative
} bilinear_constants;

/// Between two pixels of a row, times one.
EI_ALWAYS_INLINE int32x4_t across(int16x4_t left, int16x4_t right, const bilinear_constants *c) {
    return vmlal_s16(vmull_s16(left, c->left), right, c->right);
}

/// Between t and b, to integers: t * (one - w) + b * w is t * one + (b - t) * w. Of negative values,
/// halves go down when one less than a half is added, which is away from zero.
EI_ALWAYS_INLINE int16x4_t between(int32x4_t t, int32x4_t b, const bilinear_constants *c) {
    const int32x4_t v = vmlaq_s32(vshlq_s32(t, c->fraction_bits), vsubq_s32(b, t), c->lower);
    const int32x4_t less = vandq_s32(vshrq_n_s32(v, 31), c->away);
    return vmovn_s32(vshlq_s32(vaddq_s32(vaddq_s32(v, c->half), less), c->shift));
}

EI_ALWAYS_INLINE int16x8_t eight(int8x8_t tl, int8x8_t tr, int8x8_t bl, int8x8_t br,
                                 const bilinear_constants *c) {
    const int16x8_t tl16 = vmovl_s8(tl), tr16 = vmovl_s8(tr);
    const int16x8_t bl16 = vmovl_s8(bl), br16 = vmovl_s8(br);
    const int16x4_t low = between(across(vget_low_s16(tl16), vget_low_s16(tr16), c),
                                  across(vget_low_s16(bl16), vget_low_s16(br16), c), c);
    const int16x4_t high = between(across(vget_high_s16(tl16), vget_high_s16(tr16), c),
                                   across(vget_high_s16(bl16), vget_high_s16(br16), c), c);
    return vcombine_s16(low, high);
}

static void interpolate(const ei_resize_bilinear_args *args, uint8_t flip, int half_away) {
    const int32_t bits = args->fraction_bits;
    const int32_t one = 1 << bits;
    const size_t channels = args->channels;
    bilinear_constants c = {
        .flip = vdupq_n_s8((int8_t)flip),
        .lower = vdupq_n_s32(args->bottom_weight),
        .half = vdupq_n_s32(1 << (2 * bits - 1)),
        .away = vdupq_n_s32(half_away ? -1 : 0),
        .fraction_bits = vdupq_n_s32(bits),
        .shift = vdupq_n_s32(-2 * bits),
    };
    const int8_t *top = args->top;
    const int8_t *bottom = args->bottom;
    for (size_t ox = 0; ox < args->width; ox++) {
        const int32_t *column = args->columns + 3 * ox;
        const size_t left = (size_t)column[0] * channels;
        const size_t right = (size_t)column[1] * channels;
        int8_t *y = (int8_t *)args->y + ox * channels;
        c.left = vdup_n_s16((int16_t)(one - column[2]));
        c.right = vdup_n_s16((int16_t)column[2]);
        for (size_t n = 0; n < channels; n += EI_CHANNELS) {
            const size_t at = n + EI_CHANNELS <= channels ? n : channels - EI_CHANNELS;
            const int8x16_t tl = veorq_s8(vld1q_s8(top + left + at), c.flip);
            const int8x16_t tr = veorq_s8(vld1q_s8(top + right + at), c.flip);
            const int8x16_t bl = veorq_s8(vld1q_s8(bottom + left + at), c.flip);
            const int8x16_t br = veorq_s8(vld1q_s8(bottom + right + at), c.flip);
            const int16x8_t low =
                eight(vget_low_s8(tl), vget_low_s8(tr), vget_low_s8(bl), vget_low_s8(br), &c);
            const int16x8_t high =
                eight(vget_high_s8(tl), vget_high_s8(tr), vget_high_s8(bl), vget_high_s8(br), &c);
            const int8x16_t bytes = vcombine_s8(vmovn_s16(low), vmovn_s16(high));
            vst1q_s8(y + at, veorq_s8(bytes, c.flip));
        }
    }
}

static int is_narrow(const ei_resize_bilinear_args *args) {
    return args->fraction_bits <= EI_MAX_NARROW_BITS && args->channels >= EI_CHANNELS;
}

void ei_resize_bilinear_s8_neon(const ei_resize_bilinear_args *args) {
    if (is_narrow(args)) {
        interpolate(args, 0, args->half_away);
    } else {
        ei_resize_bilinear_s8_scalar(args);
    }
}

/// No sum of unsigned bytes is negative, so half_away changes nothing.
void ei_resize_bilinear_u8_neon(const ei_resize_bilinear_args *args) {
    if (is_narrow(args)) {
        interpolate(args, 0x80, 0);
    } else {
        ei_resize_bilinear_u8_scalar(args);
    }
}
