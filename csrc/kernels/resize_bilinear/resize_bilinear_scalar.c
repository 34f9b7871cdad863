#include "kernels/resize_bilinear/resize_bilinear.h"

// What int32 holds of int8 and uint8: |v| + half <= 255 * 2^(2 * 11) + 2^21.
#define EI_MAX_NARROW_BITS 11

/// Defines `name`, which interpolates with intermediate values of the type `wide`. Of negative
/// values, halves go down when one less than a half is added, which is away from zero.
#define EI_INTERPOLATE(name, type, wide)                                                           \
    static void name(const ei_resize_bilinear_args *args) {                                        \
        const size_t channels = args->channels;                                                    \
        const wide one = (wide)1 << args->fraction_bits;                                           \
        const wide wy = args->bottom_weight;                                                       \
        const wide half = (wide)1 << (2 * args->fraction_bits - 1);                                \
        const wide away = args->half_away;                                                         \
        const int32_t shift = 2 * args->fraction_bits;                                             \
        type *y = args->y;                                                                         \
        for (size_t ox = 0; ox < args->width; ox++, y += channels) {                               \
            const int32_t *column = args->columns + 3 * ox;                                        \
            const size_t left = (size_t)column[0] * channels;                                      \
            const size_t right = (size_t)column[1] * channels;                                     \
            const wide wx = column[2];                                                             \
            const type *top_left = (const type *)args->top + left;                                 \
            const type *top_right = (const type *)args->top + right;                               \
            const type *bottom_left = (const type *)args->bottom + left;                           \
            const type *bottom_right = (const type *)args->bottom + right;                         \
            for (size_t c = 0; c < channels; c++) {                                                \
                const wide top = top_left[c] * (one - wx) + top_right[c] * wx;                     \
                const wide bottom = bottom_left[c] * (one - wx) + bottom_right[c] * wx;            \
                const wide v = top * (one - wy) + bottom * wy;                                     \
                y[c] = (type)((v + half - (v < 0 ? away : 0)) >> shift);                           \
            }                                                                                      \
        }                                                                                          \
    }

EI_INTERPOLATE(interpolate_s8, int8_t, int32_t)
EI_INTERPOLATE(interpolate_s8_wide, int8_t, int64_t)
EI_INTERPOLATE(interpolate_u8, uint8_t, int32_t)
EI_INTERPOLATE(interpolate_u8_wide, uint8_t, int64_t)
EI_INTERPOLATE(interpolate_s16_wide, int16_t, int64_t)

// The copy of the arguments: a store to y could change *args, for all the compiler knows.

void ei_resize_bilinear_s8_scalar(const ei_resize_bilinear_args *args) {
    const ei_resize_bilinear_args local = *args;
    if (local.fraction_bits <= EI_MAX_NARROW_BITS) {
        interpolate_s8(&local);
    } else {
        interpolate_s8_wide(&local);
    }
}

void ei_resize_bilinear_u8_scalar(const ei_resize_bilinear_args *args) {
    const ei_resize_bilinear_args local = *args;
    if (local.fraction_bits <= EI_MAX_NARROW_BITS) {
        interpolate_u8(&local);
    } else {
        interpolate_u8_wide(&local);
    }
}

void ei_resize_bilinear_s16_scalar(const ei_resize_bilinear_args *args) {
    interpolate_s16_wide(args);
}
