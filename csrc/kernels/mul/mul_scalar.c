#include "kernels/mul/mul.h"

void ei_mul_s8_scalar(const ei_binary_run *run, const ei_mul_args *args) {
    const int8_t *a = run->a;
    const int8_t *b = run->b;
    int8_t *y = run->y;
    const ei_mul_args local = *args; // a store to y could change *args, for all the compiler knows
    for (size_t i = 0; i < run->count; i++) {
        const int32_t product =
            (a[i * run->a_step] - local.a_zero_point) * (b[i * run->b_step] - local.b_zero_point);
        y[i] = (int8_t)ei_requantize((float)product * local.multiplier, &local.out);
    }
}

void ei_mul_s16_scalar(const ei_binary_run *run, const ei_mul_args *args) {
    const int16_t *a = run->a;
    const int16_t *b = run->b;
    int16_t *y = run->y;
    for (size_t i = 0; i < run->count; i++) {
        const int64_t product = (int64_t)(a[i * run->a_step] - args->a_zero_point) *
                                (b[i * run->b_step] - args->b_zero_point);
        y[i] = (int16_t)ei_requantize((float)product * args->multiplier, &args->out);
    }
}
