/// exp, tanh, erf and their like on vectors of float32: our own, with the same bits in every lane of
/// every tier (kernels/vector_f32.h). Each line of arithmetic is one or two roundings in the order
/// written. docs/internals/numerics.md states how far each is from the real function, in units of the
/// last place; the tests measure it over all exponents.
///
/// Arguments may be anything. A NaN gives a NaN, whose bits the caller makes canonical.
#ifndef EI_KERNELS_MATH_F32_H
#define EI_KERNELS_MATH_F32_H

#include "kernels/vector_f32.h"

// 1.5 * 2^23: added to a number, it leaves the integer nearest to it in the low bits.
#define EI_ROUNDER      0x1.8p23f
#define EI_ROUNDER_BITS 0x4b400000
#define EI_LOG2_E       0x1.715476p+0f
#define EI_LN2_HIGH     0x1.62e4p-1f // 15 bits: its multiples up to 256 are exact
#define EI_LN2_LOW      0x1.7f7d1cp-20f

/// x = n * ln 2 + r with |r| <= 0.35.
typedef struct ei_reduced {
    ei_f32v rounded; // n + EI_ROUNDER
    ei_f32v n;
    ei_f32v power; // e^r - 1
} ei_reduced;

EI_ALWAYS_INLINE ei_reduced ei_reduce_exp(ei_f32v x) {
    ei_reduced e;
    e.rounded = ei_fma1(x, ei_splat(EI_LOG2_E), EI_ROUNDER);
    e.n = e.rounded - EI_ROUNDER;
    ei_f32v r = ei_fma(e.n, ei_splat(-EI_LN2_HIGH), x);
    r = ei_fma(e.n, ei_splat(-EI_LN2_LOW), r);
    ei_f32v q = ei_splat(0x1.6beb2ap-10f);
    q = ei_fma1(q, r, 0x1.122dp-7f);
    q = ei_fma1(q, r, 0x1.55568p-5f);
    q = ei_fma1(q, r, 0x1.5554aap-3f);
    q = ei_fma1(q, r, 0x1.fffffep-2f);
    e.power = ei_fma(q, r * r, r);
    return e;
}

/// v * 2^n for |n| <= 160 and v from 0.5 to 2, rounded once (to a subnormal number, if at all).
EI_ALWAYS_INLINE ei_f32v ei_scale(ei_f32v v, const ei_reduced *e) {
#if defined(__AVX512F__)
    return (ei_f32v)_mm512_scalef_ps((__m512)v, (__m512)e->n);
#else
    const ei_s32v n = ei_bits(e->rounded) - EI_ROUNDER_BITS;
    const ei_s32v half = n >> 1;
    v = v * ei_from_bits((half + 127) << 23);
    return v * ei_from_bits((n - half + 127) << 23);
#endif
}

// Where a fused multiply-add is a call, this is one too.
#if EI_HAS_FMA
#define EI_EXP_LINKAGE EI_ALWAYS_INLINE
#else
#define EI_EXP_LINKAGE __attribute__((noinline, unused)) static
#endif

/// e^x.
EI_EXP_LINKAGE ei_f32v ei_exp(ei_f32v x) {
    // Beyond these it is infinite or zero whatever x. In this order a NaN stays.
    x = ei_larger(ei_splat(-104.0f), x);
    x = ei_smaller(ei_splat(89.0f), x);
    const ei_reduced e = ei_reduce_exp(x);
    return ei_scale(e.power + 1.0f, &e);
}

/// e^x - 1 for x <= 0.
EI_ALWAYS_INLINE ei_f32v ei_expm1_below(ei_f32v x) {
    x = ei_larger(ei_splat(-25.0f), x); // from there on it is -1
    const ei_reduced e = ei_reduce_exp(x);
    const ei_f32v scale = ei_from_bits((ei_bits(e.rounded) - (EI_ROUNDER_BITS - 127)) << 23);
    return ei_fma(e.power, scale, scale - 1.0f);
}

/// 1 / (1 + e^-x), by z = e^-|x|: z / (1 + z) or 1 / (1 + z).
EI_ALWAYS_INLINE ei_f32v ei_sigmoid(ei_f32v x) {
    const ei_f32v z = ei_exp(-ei_absolute(x));
    return ei_select(ei_less(x, ei_splat(0.0f)), z, ei_splat(1.0f)) / (z + 1.0f);
}

/// x * sigmoid(x); -0 from far below 0 down to minus infinity.
EI_ALWAYS_INLINE ei_f32v ei_silu(ei_f32v x) {
    x = ei_larger(ei_splat(-128.0f), x);
    return x * ei_sigmoid(x);
}

/// By u = e^(-2 |x|) - 1: -u / (2 + u), with the sign of x.
EI_ALWAYS_INLINE ei_f32v ei_tanh(ei_f32v x) {
    const ei_f32v u = ei_expm1_below(ei_absolute(x) * -2.0f);
    return ei_with_sign(ei_absolute(u / (u + 2.0f)), x);
}

/// What erf is made of: `small` is erf(x) / x - 1 for |x| below 0.92; `tail` is 1 - erf(|x|) beyond.
#define EI_ERF_SMALL 0.927734375f

EI_ALWAYS_INLINE ei_f32v ei_erf_small(ei_f32v x) {
    const ei_f32v s = x * x;
    ei_f32v p = ei_splat(-0x1.38ep-11f);
    p = ei_fma1(p, s, 0x1.471a58p-8f);
    p = ei_fma1(p, s, -0x1.b691b2p-6f);
    p = ei_fma1(p, s, 0x1.ce1c44p-4f);
    p = ei_fma1(p, s, -0x1.8127p-2f);
    return ei_fma1(p, s, 0x1.06eba8p-3f);
}
/// e^p(t), t = |x|. From 4 on it is less than half of the last place of 1.
EI_ALWAYS_INLINE ei_f32v ei_erf_tail(ei_f32v t) {
    const ei_f32v s = t * t;
    ei_f32v p = ei_fma1(t, ei_splat(-0x1.22p-16f), 0x1.91cfb2p-12f);
    const ei_f32v u = ei_fma1(t, ei_splat(-0x1.fd1438p-9f), 0x1.8d6342p-6f);
    p = ei_fma(p, s, u);
    p = ei_fma1(p, t, -0x1.b55cb8p-4f);
    p = ei_fma1(p, t, -0x1.450aap-1f);
    p = ei_fma1(p, t, -0x1.079d0cp-3f);
    return ei_exp(ei_fma(p, t, -t));
}

EI_ALWAYS_INLINE ei_f32v ei_erf(ei_f32v x) {
    const ei_f32v t = ei_smaller(ei_splat(4.0f), ei_absolute(x));
    const ei_f32v large = ei_with_sign(1.0f - ei_erf_tail(t), x);
    const ei_f32v small = ei_fma(ei_erf_small(x), x, x);
    return ei_select(ei_less(t, ei_splat(EI_ERF_SMALL)), small, large);
}

/// x * P(x) with the normal distribution's P = (1 + erf(x / sqrt 2)) / 2. Where x is far below 0, P is
/// the tail by itself: nothing cancels.
EI_ALWAYS_INLINE ei_f32v ei_gelu(ei_f32v x) {
    x = ei_larger(ei_splat(-16.0f), x); // from there on it is -0
    const ei_f32v v = x * 0x1.6a09e6p-1f;
    const ei_f32v t = ei_smaller(ei_splat(12.0f), ei_absolute(v));
    const ei_f32v tail = ei_erf_tail(t);
    const ei_f32v above = 2.0f - tail;
    const ei_f32v middle = ei_fma(ei_erf_small(v), v, v) + 1.0f;
    ei_f32v twice = ei_select(ei_less(v, ei_splat(0.0f)), tail, above);
    twice = ei_select(ei_less(t, ei_splat(EI_ERF_SMALL)), middle, twice);
    return x * 0.5f * twice;
}

/// x * (1 + tanh(u)) / 2 = x * sigmoid(2 u), u = sqrt(2 / pi) * (x + 0.044715 x^3).
EI_ALWAYS_INLINE ei_f32v ei_gelu_tanh(ei_f32v x) {
    x = ei_larger(ei_splat(-16.0f), x); // from there on it is -0
    const ei_f32v inner =
        ei_fma1(x * x, ei_splat(0x1.2444f2p-4f), 0x1.988454p+0f); // 2 sqrt(2 / pi)
    return x * ei_sigmoid(x * inner);
}

/// x * tanh(log(1 + e^x)) = x * n / (n + 2), n = e^x * (e^x + 2).
EI_ALWAYS_INLINE ei_f32v ei_mish(ei_f32v x) {
    x = ei_larger(ei_splat(-128.0f), x);                      // there it is -0
    const ei_f32v e = ei_exp(ei_smaller(ei_splat(20.0f), x)); // from there on it is x
    const ei_f32v n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
}

/// The integer nearest to x, of two the even one; x itself from 2^23 on, and -0 stays.
EI_ALWAYS_INLINE ei_f32v ei_round(ei_f32v x) {
    const ei_f32v magnitude = ei_absolute(x);
    const ei_f32v rounded = ei_with_sign((magnitude + 0x1p23f) - 0x1p23f, x);
    return ei_select(ei_less(magnitude, ei_splat(0x1p23f)), rounded, x);
}
EI_ALWAYS_INLINE ei_f32v ei_floor(ei_f32v x) {
    const ei_f32v near = ei_round(x);
    return ei_with_sign(
        ei_absolute(near - ei_select(ei_less(x, near), ei_splat(1.0f), ei_splat(0.0f))), x);
}

/// The natural logarithm, x = m * 2^e with m from sqrt(1/2) to sqrt(2): with r = m - 1,
/// r - r^2 / 2 + r^3 p(r) + e ln 2. Coefficients: Cephes' logf.
EI_ALWAYS_INLINE ei_f32v ei_log(ei_f32v x) {
    const ei_f32v zero = ei_splat(0.0f);
    const ei_mask subnormal = ei_less(x, ei_splat(0x1p-126f));
    const ei_f32v normal = ei_select(subnormal, x * 0x1p25f, x);
    const ei_s32v bits = ei_bits(normal) - 0x3f3504f3; // sqrt(1/2)
    const ei_f32v exponent = __builtin_convertvector(bits >> 23, ei_f32v);
    const ei_f32v e = exponent - ei_select(subnormal, ei_splat(25.0f), zero);
    const ei_f32v r = ei_from_bits((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;
    const ei_f32v z = r * r;
    ei_f32v p = ei_splat(7.0376836292e-2f);
    p = ei_fma1(p, r, -1.1514610310e-1f);
    p = ei_fma1(p, r, 1.1676998740e-1f);
    p = ei_fma1(p, r, -1.2420140846e-1f);
    p = ei_fma1(p, r, 1.4249322787e-1f);
    p = ei_fma1(p, r, -1.6668057665e-1f);
    p = ei_fma1(p, r, 2.0000714765e-1f);
    p = ei_fma1(p, r, -2.4999993993e-1f);
    p = ei_fma1(p, r, 3.3333331174e-1f);
    ei_f32v y = ei_fma(e, ei_splat(-2.12194440e-4f), p * r * z);
    y = r + ei_fma(z, ei_splat(-0.5f), y);
    y = ei_fma(e, ei_splat(0.693359375f), y);
    const ei_f32v below =
        ei_select(ei_less(x, zero), ei_splat(__builtin_nanf("")), ei_splat(-__builtin_inff()));
    y = ei_select(ei_less(zero, x), y, below);
    return ei_select(ei_less(x, ei_splat(__builtin_inff())), y, x); // infinity, NaN
}

#endif
