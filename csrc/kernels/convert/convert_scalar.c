#include "kernels/convert/convert.h"

static inline int32_t quantize(float x, const ei_quantize_args *args) {
    const float scaled = args->divide ? x / args->factor : x * args->factor;
    return ei_requantize(scaled != scaled ? 0.0f : scaled, &args->out); // NaN differs from itself
}

#define EI_QUANTIZE(name, type)                                                                    \
    void name(const float *x, void *y, size_t count, const ei_quantize_args *args) {               \
        const ei_quantize_args local = *args; /* a store to y could change *args, who knows */     \
        type *out = y;                                                                             \
        for (size_t i = 0; i < count; i++) {                                                       \
            out[i] = (type)quantize(x[i], &local);                                                 \
        }                                                                                          \
    }

EI_QUANTIZE(ei_quantize_s8_scalar, int8_t)
EI_QUANTIZE(ei_quantize_u8_scalar, uint8_t)
EI_QUANTIZE(ei_quantize_s16_scalar, int16_t)

#define EI_DEQUANTIZE(name, type, wide)                                                            \
    void name(const void *x, float *y, size_t count, int32_t zero_point, float scale) {            \
        const type *in = x;                                                                        \
        for (size_t i = 0; i < count; i++) {                                                       \
            y[i] = (float)((wide)in[i] - zero_point) * scale;                                      \
        }                                                                                          \
    }

EI_DEQUANTIZE(ei_dequantize_s8_scalar, int8_t, int32_t)
EI_DEQUANTIZE(ei_dequantize_u8_scalar, uint8_t, int32_t)
EI_DEQUANTIZE(ei_dequantize_s16_scalar, int16_t, int32_t)
EI_DEQUANTIZE(ei_dequantize_s32_scalar, int32_t, int64_t)
