#include "kernels/resize_bilinear/resize_bilinear.h"

static inline int64_t round_shift(int64_t v, int32_t bits, int32_t half_away) {
    const int64_t half = (int64_t)1 << (bits - 1);
    if (half_away && v < 0) {
        return -((half - v) >> bits);
    }
    return (v + half) >> bits;
}

#define EI_RESIZE_BILINEAR(name, type)                                                             \
    void name(const ei_resize_bilinear_args *args) {                                               \
        const ei_resize_bilinear_args local = *args;                                               \
        const size_t channels = local.channels;                                                    \
        const int64_t one = (int64_t)1 << local.fraction_bits;                                     \
        const int64_t wy = local.bottom_weight;                                                    \
        type *y = local.y;                                                                         \
        for (size_t ox = 0; ox < local.width; ox++, y += channels) {                               \
            const int32_t *column = local.columns + 3 * ox;                                        \
            const size_t left = (size_t)column[0] * channels;                                      \
            const size_t right = (size_t)column[1] * channels;                                     \
            const int64_t wx = column[2];                                                          \
            const type *top = local.top;                                                           \
            const type *bottom = local.bottom;                                                     \
            for (size_t c = 0; c < channels; c++) {                                                \
                const int64_t t = top[left + c] * (one - wx) + top[right + c] * wx;                \
                const int64_t b = bottom[left + c] * (one - wx) + bottom[right + c] * wx;          \
                const int64_t v = t * (one - wy) + b * wy;                                         \
                y[c] = (type)round_shift(v, 2 * local.fraction_bits, local.half_away);             \
            }                                                                                      \
        }                                                                                          \
    }

EI_RESIZE_BILINEAR(ei_resize_bilinear_s8_scalar, int8_t)
EI_RESIZE_BILINEAR(ei_resize_bilinear_u8_scalar, uint8_t)
EI_RESIZE_BILINEAR(ei_resize_bilinear_s16_scalar, int16_t)
