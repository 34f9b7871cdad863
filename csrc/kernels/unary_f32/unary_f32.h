/// Functions of one float32 that networks are full of. kernels/math_f64 has the rare ones.
#ifndef EI_KERNELS_UNARY_F32_H
#define EI_KERNELS_UNARY_F32_H

#include <stddef.h>
#include <stdint.h>

/// Which function: the operator's `kind` (a part of the file format).
enum {
    EI_F32_CLIP = 0, // x: what a clamp leaves of it
    EI_F32_EXP = 1,
    EI_F32_SIGMOID = 2,
    EI_F32_TANH = 3,
    EI_F32_SILU = 4,      // x * sigmoid(x)
    EI_F32_GELU = 5,      // x * (1 + erf(x / sqrt 2)) / 2
    EI_F32_GELU_TANH = 6, // x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))
    EI_F32_ERF = 7,
    EI_F32_HARD_SIGMOID = 8,      // the clamp to [0, 1] of fma(alpha, x, beta)
    EI_F32_HARD_SWISH = 9,        // x * that
    EI_F32_LEAKY_RELU = 10,       // x < 0 ? alpha * x : x
    EI_F32_ELU = 11,              // x > 0 ? gamma * x : alpha * (e^(x * beta) - 1)
    EI_F32_MISH = 12,             // x * tanh(log(1 + e^x))
    EI_F32_SQRT = 13,             // of a negative number: NaN
    EI_F32_RSQRT = 14,            // 1 / sqrt(x)
    EI_F32_RECIPROCAL = 15,       // 1 / x
    EI_F32_ABS = 16,              //
    EI_F32_NEG = 17,              //
    EI_F32_SQUARE = 18,           // x * x
    EI_F32_FLOOR = 19,            //
    EI_F32_CEIL = 20,             //
    EI_F32_ROUND = 21,            // half to even
    EI_F32_SIGN = 22,             // -1, 1, or the zero that x is
    EI_F32_SOFTSIGN = 23,         // x / (1 + |x|)
    EI_F32_THRESHOLDED_RELU = 24, // alpha < x ? x : 0
    EI_F32_SHRINK = 25,           // x < -alpha ? x + beta : alpha < x ? x - beta : 0
    EI_F32_LOG = 26,              // of 0: minus infinity; of a negative number: NaN
    EI_F32_KINDS = 27,
};

typedef struct ei_unary_f32_args {
    int32_t kind;
    float alpha, beta, gamma;   // where a function has them
    float clamp_min, clamp_max; // min <= max; may be infinite
} ei_unary_f32_args;

/// y[i] = clamp(f(x[i])), i < count. y may be the very bytes of x. A NaN gives NaN 0x7fc00000, and so does
/// what has no result. Bounds of the error: docs/internals/numerics.md.
typedef void (*ei_unary_f32_fn)(const float *x, float *y, size_t count,
                                const ei_unary_f32_args *args);

void ei_unary_f32_scalar(const float *x, float *y, size_t count, const ei_unary_f32_args *args);
void ei_unary_f32_avx2(const float *x, float *y, size_t count, const ei_unary_f32_args *args);
void ei_unary_f32_avx512vnni(const float *x, float *y, size_t count, const ei_unary_f32_args *args);

#endif
