/// The arithmetic of binary_f32.h, for every tier (kernels/vector_f32.h).
#ifndef EI_KERNELS_BINARY_F32_VECTORS_H
#define EI_KERNELS_BINARY_F32_VECTORS_H

#include "kernels/binary_f32/binary_f32.h"
#include "kernels/vector_f32.h"

/// An operand, a vector at a time: one element that meets all of y is a vector of copies of it.
typedef struct ei_operand_f32 {
    float copies[EI_LANES];
    const float *x;
    size_t step;
} ei_operand_f32;

static void ei_begin_operand(ei_operand_f32 *operand, const float *x, uint32_t step) {
    operand->x = x;
    operand->step = EI_LANES;
    if (step == 0) {
        ei_store(operand->copies, ei_splat(*x));
        operand->x = operand->copies;
        operand->step = 0;
    }
}

/// Defines `name`: the loop of one function, an expression of a and b.
#define EI_BINARY(name, expression)                                                                \
    static void name(const float *a_at, size_t a_step, const float *b_at, size_t b_step, float *y, \
                     size_t count, float low, float high) {                                        \
        for (size_t at = 0; at < count; at += EI_LANES, a_at += a_step, b_at += b_step) {          \
            const ei_f32v a = ei_load_or(a_at, count - at, 0.0f);                                  \
            const ei_f32v b = ei_load_or(b_at, count - at, 0.0f);                                  \
            ei_store_part(y + at, count - at, ei_clamped((expression), low, high));                \
        }                                                                                          \
    }

EI_BINARY(sums, a + b)
EI_BINARY(differences, a - b)
EI_BINARY(products, a *b)
EI_BINARY(quotients, a / b)
EI_BINARY(maxima, ei_maximum(a, b))
EI_BINARY(minima, ei_minimum(a, b))
EI_BINARY(slopes, ei_select(ei_less(a, ei_splat(0.0f)), a *b, a))

/// Defines `name`, the kernel of a tier.
#define EI_BINARY_F32(name)                                                                        \
    void name(const ei_binary_run *run, const ei_binary_f32_args *args) {                          \
        typedef void (*loop)(const float *, size_t, const float *, size_t, float *, size_t, float, \
                             float);                                                               \
        static const loop loops[] = {sums,   differences, products, quotients,                     \
                                     maxima, minima,      slopes};                                 \
        ei_operand_f32 a, b;                                                                       \
        ei_begin_operand(&a, run->a, run->a_step);                                                 \
        ei_begin_operand(&b, run->b, run->b_step);                                                 \
        loops[args->kind](a.x, a.step, b.x, b.step, run->y, run->count, args->clamp_min,           \
                          args->clamp_max);                                                        \
    }

#endif
