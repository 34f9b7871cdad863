#include "kernels/convert/convert_blocks.h"

// The bytes of an int8 are those of the uint8 that it is modulo 256.
EI_QUANTIZE_BLOCKS(quantize_8, uint8_t)
EI_QUANTIZE_BLOCKS(quantize_16, int16_t)
EI_DEQUANTIZE_BLOCKS(dequantize_s8, int8_t, int32_t)
EI_DEQUANTIZE_BLOCKS(dequantize_u8, uint8_t, int32_t)
EI_DEQUANTIZE_BLOCKS(dequantize_s16, int16_t, int32_t)
EI_DEQUANTIZE_BLOCKS(dequantize_s32, int32_t, double)

void ei_quantize_s8_scalar(const float *x, void *y, size_t count, const ei_quantize_args *args) {
    ei_unary_in_blocks(x, sizeof(float), y, sizeof(int8_t), count, quantize_8, args);
}

void ei_quantize_u8_scalar(const float *x, void *y, size_t count, const ei_quantize_args *args) {
    ei_unary_in_blocks(x, sizeof(float), y, sizeof(uint8_t), count, quantize_8, args);
}

void ei_quantize_s16_scalar(const float *x, void *y, size_t count, const ei_quantize_args *args) {
    ei_unary_in_blocks(x, sizeof(float), y, sizeof(int16_t), count, quantize_16, args);
}

void ei_dequantize_s8_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                             float scale) {
    const ei_dequantize_args args = {zero_point, scale};
    ei_unary_in_blocks(x, sizeof(int8_t), y, sizeof(float), count, dequantize_s8, &args);
}

void ei_dequantize_u8_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                             float scale) {
    const ei_dequantize_args args = {zero_point, scale};
    ei_unary_in_blocks(x, sizeof(uint8_t), y, sizeof(float), count, dequantize_u8, &args);
}

void ei_dequantize_s16_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                              float scale) {
    const ei_dequantize_args args = {zero_point, scale};
    ei_unary_in_blocks(x, sizeof(int16_t), y, sizeof(float), count, dequantize_s16, &args);
}

void ei_dequantize_s32_scalar(const void *x, float *y, size_t count, int32_t zero_point,
                              float scale) {
    const ei_dequantize_args args = {zero_point, scale};
    ei_unary_in_blocks(x, sizeof(int32_t), y, sizeof(float), count, dequantize_s32, &args);
}
