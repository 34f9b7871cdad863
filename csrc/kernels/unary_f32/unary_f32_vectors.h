/// The functions of unary_f32.h, for every tier (kernels/vector_f32.h).
#ifndef EI_KERNELS_UNARY_F32_VECTORS_H
#define EI_KERNELS_UNARY_F32_VECTORS_H

#include "kernels/math_f32.h"
#include "kernels/unary_f32/unary_f32.h"

/// Defines `name`: the loop of one function, an expression of x and args.
#define EI_UNARY(name, expression)                                                                 \
    static void name(const float *from, float *to, size_t count, const ei_unary_f32_args *args) {  \
        for (size_t at = 0; at < count; at += EI_LANES) {                                          \
            const ei_f32v x = ei_load_or(from + at, count - at, 0.0f);                             \
            const ei_f32v y = (expression);                                                        \
            ei_store_part(to + at, count - at, ei_clamped(y, args->clamp_min, args->clamp_max));   \
        }                                                                                          \
    }

/// The same of a function that takes vectors side by side (kernels/math_f32.h), two of them.
#define EI_UNARY_EACH(name, function)                                                              \
    static void name(const float *from, float *to, size_t count, const ei_unary_f32_args *args) {  \
        const float low = args->clamp_min, high = args->clamp_max;                                 \
        size_t at = 0;                                                                             \
        for (; EI_HAS_FMA && at + 2 * EI_LANES <= count; at += 2 * EI_LANES) {                     \
            ei_f32v x[2] = {ei_load(from + at), ei_load(from + at + EI_LANES)};                    \
            function(x, 2);                                                                        \
            ei_store(to + at, ei_clamped(x[0], low, high));                                        \
            ei_store(to + at + EI_LANES, ei_clamped(x[1], low, high));                             \
        }                                                                                          \
        for (; at < count; at += EI_LANES) {                                                       \
            ei_f32v x = ei_load_or(from + at, count - at, 0.0f);                                   \
            function(&x, 1);                                                                       \
            ei_store_part(to + at, count - at, ei_clamped(x, low, high));                          \
        }                                                                                          \
    }

EI_ALWAYS_INLINE ei_f32v ei_hard_sigmoid(ei_f32v x, const ei_unary_f32_args *args) {
    x = ei_fma(ei_splat(args->alpha), x, ei_splat(args->beta));
    return ei_smaller(ei_splat(1.0f), ei_larger(ei_splat(0.0f), x));
}
EI_ALWAYS_INLINE ei_f32v ei_elu(ei_f32v x, const ei_unary_f32_args *args) {
    const ei_f32v scaled = x * args->beta;
    // Above 0 it is not used; there it must not get as far as 2^128.
    const ei_f32v below = ei_expm1_below(ei_smaller(ei_splat(0.0f), scaled)) * args->alpha;
    return ei_select(ei_less(ei_splat(0.0f), x), x * args->gamma, below);
}
EI_ALWAYS_INLINE ei_f32v ei_sign(ei_f32v x) {
    const ei_f32v one = ei_with_sign(ei_splat(1.0f), x);
    return ei_select(ei_less(ei_splat(0.0f), ei_absolute(x)), one, x);
}
EI_ALWAYS_INLINE ei_f32v ei_shrink(ei_f32v x, const ei_unary_f32_args *args) {
    const ei_f32v zero = ei_select(ei_is_nan(x), x, ei_splat(0.0f));
    const ei_f32v upper = ei_select(ei_less(ei_splat(args->alpha), x), x - args->beta, zero);
    return ei_select(ei_less(x, ei_splat(-args->alpha)), x + args->beta, upper);
}

EI_UNARY(clip, x)
EI_UNARY_EACH(exponential, ei_exp_each)
EI_UNARY(sigmoid, ei_sigmoid(x))
EI_UNARY(hyperbolic_tangent, ei_tanh(x))
EI_UNARY(silu, ei_silu(x))
EI_UNARY_EACH(gelu, ei_gelu_each)
EI_UNARY(gelu_tanh, ei_gelu_tanh(x))
EI_UNARY(error_function, ei_erf(x))
EI_UNARY(hard_sigmoid, ei_hard_sigmoid(x, args))
EI_UNARY(hard_swish, x *ei_hard_sigmoid(x, args))
EI_UNARY(leaky_relu, ei_select(ei_less(x, ei_splat(0.0f)), x * args->alpha, x))
EI_UNARY(elu, ei_elu(x, args))
EI_UNARY(mish, ei_mish(x))
EI_UNARY(square_root, ei_square_root(x))
EI_UNARY(reciprocal_root, 1.0f / ei_square_root(x))
EI_UNARY(reciprocal, 1.0f / x)
EI_UNARY(absolute, ei_absolute(x))
EI_UNARY(negative, -x)
EI_UNARY(square, x *x)
EI_UNARY(floor_of, ei_floor(x))
EI_UNARY(ceil_of, -ei_floor(-x))
EI_UNARY(round_of, ei_round(x))
EI_UNARY(sign_of, ei_sign(x))
EI_UNARY(softsign, x / (ei_absolute(x) + 1.0f))
EI_UNARY(thresholded_relu, ei_select(ei_less(ei_splat(args->alpha), x), x,
                                     ei_select(ei_is_nan(x), x, ei_splat(0.0f))))
EI_UNARY(shrink, ei_shrink(x, args))
EI_UNARY(logarithm, ei_log(x))

/// Defines `name`, the kernel of a tier.
#define EI_UNARY_F32(name)                                                                         \
    void name(const float *x, float *y, size_t count, const ei_unary_f32_args *args) {             \
        switch (args->kind) {                                                                      \
        case EI_F32_CLIP: clip(x, y, count, args); return;                                         \
        case EI_F32_EXP: exponential(x, y, count, args); return;                                   \
        case EI_F32_SIGMOID: sigmoid(x, y, count, args); return;                                   \
        case EI_F32_TANH: hyperbolic_tangent(x, y, count, args); return;                           \
        case EI_F32_SILU: silu(x, y, count, args); return;                                         \
        case EI_F32_GELU: gelu(x, y, count, args); return;                                         \
        case EI_F32_GELU_TANH: gelu_tanh(x, y, count, args); return;                               \
        case EI_F32_ERF: error_function(x, y, count, args); return;                                \
        case EI_F32_HARD_SIGMOID: hard_sigmoid(x, y, count, args); return;                         \
        case EI_F32_HARD_SWISH: hard_swish(x, y, count, args); return;                             \
        case EI_F32_LEAKY_RELU: leaky_relu(x, y, count, args); return;                             \
        case EI_F32_ELU: elu(x, y, count, args); return;                                           \
        case EI_F32_MISH: mish(x, y, count, args); return;                                         \
        case EI_F32_SQRT: square_root(x, y, count, args); return;                                  \
        case EI_F32_RSQRT: reciprocal_root(x, y, count, args); return;                             \
        case EI_F32_RECIPROCAL: reciprocal(x, y, count, args); return;                             \
        case EI_F32_ABS: absolute(x, y, count, args); return;                                      \
        case EI_F32_NEG: negative(x, y, count, args); return;                                      \
        case EI_F32_SQUARE: square(x, y, count, args); return;                                     \
        case EI_F32_FLOOR: floor_of(x, y, count, args); return;                                    \
        case EI_F32_CEIL: ceil_of(x, y, count, args); return;                                      \
        case EI_F32_ROUND: round_of(x, y, count, args); return;                                    \
        case EI_F32_SIGN: sign_of(x, y, count, args); return;                                      \
        case EI_F32_SOFTSIGN: softsign(x, y, count, args); return;                                 \
        case EI_F32_THRESHOLDED_RELU: thresholded_relu(x, y, count, args); return;                 \
        case EI_F32_SHRINK: shrink(x, y, count, args); return;                                     \
        default: logarithm(x, y, count, args); return;                                             \
        }                                                                                          \
    }

#endif
