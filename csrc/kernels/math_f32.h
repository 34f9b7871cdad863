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

// Functions whose name ends with _each compute n vectors side by side, one step of all after another: each is a chain
// of operations that wait for one another, longer than what a core looks ahead.
enum { EI_MOST_EACH = 4 };

/// p = p * x + c
EI_ALWAYS_INLINE void ei_horner_each(ei_f32v *p, const ei_f32v *x, float c, const int n) {
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = ei_fma1(p[i], x[i], c);
    }
}

/// x = n * ln 2 + r with |r| <= 0.35.
typedef struct ei_reduced {
    ei_f32v rounded[EI_MOST_EACH]; // n + EI_ROUNDER
    ei_f32v n[EI_MOST_EACH];
    ei_f32v power[EI_MOST_EACH]; // e^r - 1
} ei_reduced;

EI_ALWAYS_INLINE void ei_reduce_exp_each(ei_reduced *e, const ei_f32v *x, const int n) {
    ei_f32v r[EI_MOST_EACH], q[EI_MOST_EACH];
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        e->rounded[i] = ei_fma1(x[i], ei_splat(EI_LOG2_E), EI_ROUNDER);
    }
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        e->n[i] = e->rounded[i] - EI_ROUNDER;
    }
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        r[i] = ei_fma(e->n[i], ei_splat(-EI_LN2_HIGH), x[i]);
    }
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        r[i] = ei_fma(e->n[i], ei_splat(-EI_LN2_LOW), r[i]);
        q[i] = ei_splat(0x1.6beb2ap-10f);
    }
    ei_horner_each(q, r, 0x1.122dp-7f, n);
    ei_horner_each(q, r, 0x1.55568p-5f, n);
    ei_horner_each(q, r, 0x1.5554aap-3f, n);
    ei_horner_each(q, r, 0x1.fffffep-2f, n);
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        e->power[i] = ei_fma(q[i], r[i] * r[i], r[i]);
    }
}

/// v * 2^n for |n| <= 160 and v from 0.5 to 2, rounded once (to a subnormal number, if at all).
EI_ALWAYS_INLINE ei_f32v ei_scale(ei_f32v v, ei_f32v rounded, ei_f32v n) {
#if defined(__AVX512F__)
    (void)rounded;
    return (ei_f32v)_mm512_scalef_ps((__m512)v, (__m512)n);
#else
    (void)n;
    const ei_s32v whole = ei_bits(rounded) - EI_ROUNDER_BITS;
    const ei_s32v half = whole >> 1;
    v = v * ei_from_bits((half + 127) << 23);
    return v * ei_from_bits((whole - half + 127) << 23);
#endif
}

/// e^x of any x, results that are subnormal or infinite among them.
__attribute__((noinline, unused)) static ei_f32v ei_exp_anywhere(ei_f32v x) {
    // Below -104 it is zero, from 89 on infinite, whatever x. In this order a NaN stays.
    x = ei_larger(ei_splat(-104.0f), x);
    x = ei_smaller(ei_splat(89.0f), x);
    ei_reduced e;
    ei_reduce_exp_each(&e, &x, 1);
    return ei_scale(e.power[0] + 1.0f, e.rounded[0], e.n[0]);
}

/// Where every result is zero or a normal number, 2^n is added to the exponent of e^r. Lanes below -104 compute with
/// 0 meanwhile: results that round to zero take some CPUs as long as all else.
EI_ALWAYS_INLINE void ei_exp_side_by_side(ei_f32v *x, const int n) {
    ei_mask is_zero[EI_MOST_EACH], is_normal;
    ei_f32v within[EI_MOST_EACH];
    ei_reduced e;
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        is_zero[i] = ei_less(x[i], ei_splat(-104.0f));
        within[i] = ei_zero_where(is_zero[i], x[i]);
        const ei_mask mask = ei_less(ei_absolute(within[i]), ei_splat(87.0f));
        is_normal = i == 0 ? mask : (ei_mask)(is_normal & mask);
    }
    if (__builtin_expect(!ei_all(is_normal), 0)) {
        EI_UNROLL
        for (int i = 0; i < n; i++) {
            x[i] = ei_exp_anywhere(x[i]);
        }
        return;
    }
    ei_reduce_exp_each(&e, within, n);
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        const ei_s32v exponent = ei_bits(e.rounded[i])
                                 << 23; // of EI_ROUNDER itself nothing is left
        const ei_f32v power = ei_from_bits(ei_bits(e.power[i] + 1.0f) + exponent);
        x[i] = ei_zero_where(is_zero[i], power);
    }
}

/// e^x. Where a fused multiply-add is a call, this is one too.
EI_ALWAYS_INLINE void ei_exp_each(ei_f32v *x, const int n) {
#if EI_HAS_FMA
    ei_exp_side_by_side(x, n);
#else
    for (int i = 0; i < n; i++) {
        x[i] = ei_exp_anywhere(x[i]);
    }
#endif
}
EI_ALWAYS_INLINE ei_f32v ei_exp(ei_f32v x) {
    ei_exp_each(&x, 1);
    return x;
}

/// e^x - 1 for x <= 0.
EI_ALWAYS_INLINE ei_f32v ei_expm1_below(ei_f32v x) {
    x = ei_larger(ei_splat(-25.0f), x); // from there on it is -1
    ei_reduced e;
    ei_reduce_exp_each(&e, &x, 1);
    const ei_f32v scale = ei_from_bits((ei_bits(e.rounded[0]) - (EI_ROUNDER_BITS - 127)) << 23);
    return ei_fma(e.power[0], scale, scale - 1.0f);
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

EI_ALWAYS_INLINE void ei_erf_small_each(ei_f32v *x, const int n) {
    ei_f32v s[EI_MOST_EACH];
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        s[i] = x[i] * x[i];
        x[i] = ei_splat(-0x1.38ep-11f);
    }
    ei_horner_each(x, s, 0x1.471a58p-8f, n);
    ei_horner_each(x, s, -0x1.b691b2p-6f, n);
    ei_horner_each(x, s, 0x1.ce1c44p-4f, n);
    ei_horner_each(x, s, -0x1.8127p-2f, n);
    ei_horner_each(x, s, 0x1.06eba8p-3f, n);
}
/// e^p(t), t = |x|. From 4 on it is less than half of the last place of 1.
EI_ALWAYS_INLINE void ei_erf_tail_each(ei_f32v *t, const int n) {
    ei_f32v p[EI_MOST_EACH];
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = ei_fma1(t[i], ei_splat(-0x1.22p-16f), 0x1.91cfb2p-12f);
        const ei_f32v u = ei_fma1(t[i], ei_splat(-0x1.fd1438p-9f), 0x1.8d6342p-6f);
        p[i] = ei_fma(p[i], t[i] * t[i], u);
    }
    ei_horner_each(p, t, -0x1.b55cb8p-4f, n);
    ei_horner_each(p, t, -0x1.450aap-1f, n);
    ei_horner_each(p, t, -0x1.079d0cp-3f, n);
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        t[i] = ei_fma(p[i], t[i], -t[i]);
    }
    ei_exp_each(t, n);
}

EI_ALWAYS_INLINE ei_f32v ei_erf(ei_f32v x) {
    const ei_f32v t = ei_smaller(ei_splat(4.0f), ei_absolute(x));
    ei_f32v tail = t;
    ei_erf_tail_each(&tail, 1);
    ei_f32v p = x;
    ei_erf_small_each(&p, 1);
    const ei_f32v large = ei_with_sign(1.0f - tail, x);
    return ei_select(ei_less(t, ei_splat(EI_ERF_SMALL)), ei_fma(p, x, x), large);
}

/// x * P(x) with the normal distribution's P = (1 + erf(x / sqrt 2)) / 2. Where x is far below 0, P is
/// the tail by itself: nothing cancels.
EI_ALWAYS_INLINE void ei_gelu_each(ei_f32v *x, const int n) {
    ei_f32v v[EI_MOST_EACH], t[EI_MOST_EACH], tail[EI_MOST_EACH], p[EI_MOST_EACH];
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        x[i] = ei_larger(ei_splat(-16.0f), x[i]); // from there on it is -0
        v[i] = x[i] * 0x1.6a09e6p-1f;
        t[i] = ei_smaller(ei_splat(12.0f), ei_absolute(v[i]));
        tail[i] = t[i];
        p[i] = v[i];
    }
    ei_erf_tail_each(tail, n);
    ei_erf_small_each(p, n);
    EI_UNROLL
    for (int i = 0; i < n; i++) {
        const ei_f32v above = 2.0f - tail[i];
        const ei_f32v middle = ei_fma(p[i], v[i], v[i]) + 1.0f;
        ei_f32v twice = ei_select(ei_less(v[i], ei_splat(0.0f)), tail[i], above);
        twice = ei_select(ei_less(t[i], ei_splat(EI_ERF_SMALL)), middle, twice);
        x[i] = x[i] * 0.5f * twice;
    }
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
