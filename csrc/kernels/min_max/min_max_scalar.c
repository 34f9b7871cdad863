#include "kernels/min_max/min_max_blocks.h"

EI_MIN_MAX(ei_maximum_s8_scalar, maximum_s8, int8_t, >)
EI_MIN_MAX(ei_maximum_u8_scalar, maximum_u8, uint8_t, >)
EI_MIN_MAX(ei_maximum_s16_scalar, maximum_s16, int16_t, >)
EI_MIN_MAX(ei_maximum_s32_scalar, maximum_s32, int32_t, >)
EI_MIN_MAX(ei_minimum_s8_scalar, minimum_s8, int8_t, <)
EI_MIN_MAX(ei_minimum_u8_scalar, minimum_u8, uint8_t, <)
EI_MIN_MAX(ei_minimum_s16_scalar, minimum_s16, int16_t, <)
EI_MIN_MAX(ei_minimum_s32_scalar, minimum_s32, int32_t, <)
