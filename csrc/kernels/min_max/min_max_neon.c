#include "kernels/min_max/min_max_blocks.h"

EI_MIN_MAX(ei_maximum_s8_neon, maximum_s8, int8_t, >)
EI_MIN_MAX(ei_maximum_u8_neon, maximum_u8, uint8_t, >)
EI_MIN_MAX(ei_maximum_s16_neon, maximum_s16, int16_t, >)
EI_MIN_MAX(ei_maximum_s32_neon, maximum_s32, int32_t, >)
EI_MIN_MAX(ei_minimum_s8_neon, minimum_s8, int8_t, <)
EI_MIN_MAX(ei_minimum_u8_neon, minimum_u8, uint8_t, <)
EI_MIN_MAX(ei_minimum_s16_neon, minimum_s16, int16_t, <)
EI_MIN_MAX(ei_minimum_s32_neon, minimum_s32, int32_t, <)
