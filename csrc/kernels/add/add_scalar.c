#include "kernels/add/add.h"

void ei_add_s8_scalar(const ei_binary_run *run, const ei_add_args *args) {
    const int8_t *a = run->a;
    const int8_t *b = run->b;
    int8_t *y = run->y;
    const ei_add_args local = *args; // a store to y could change *args, for all the compiler knows
    const int32_t bias = (int32_t)local.bias;
    // The clamp comes before the zero point: the sum of any int32 and a zero point may overflow.
    const int32_t low = local.clamp_min - local.zero_point;
    const int32_t high = local.clamp_max - local.zero_point;
    for (size_t i = 0; i < run->count; i++) {
        const int32_t sum = a[i * run->a_step] * local.a_multiplier +
                            b[i * run->b_step] * local.b_multiplier + bias;
        const int32_t value = sum >> local.shift;
        const int32_t clamped = value < low ? low : (value > high ? high : value);
        y[i] = (int8_t)(clamped + local.zero_point);
    }
}

void ei_add_s16_scalar(const ei_binary_run *run, const ei_add_args *args) {
    const int16_t *a = run->a;
    const int16_t *b = run->b;
    int16_t *y = run->y;
    const int64_t low = args->clamp_min - args->zero_point;
    const int64_t high = args->clamp_max - args->zero_point;
    for (size_t i = 0; i < run->count; i++) {
        const int64_t sum = (int64_t)a[i * run->a_step] * args->a_multiplier +
                            (int64_t)b[i * run->b_step] * args->b_multiplier + args->bias;
        const int64_t value = sum >> args->shift;
        const int64_t clamped = value < low ? low : (value > high ? high : value);
        y[i] = (int16_t)(clamped + args->zero_point);
    }
}
