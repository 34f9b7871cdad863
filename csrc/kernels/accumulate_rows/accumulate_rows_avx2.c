#include "kernels/accumulate_rows/accumulate_rows_blocks.h"

EI_ACCUMULATE_ROWS(ei_accumulate_rows_s8_avx2, whole_s8, small_s8, one_s8, int8_t, int16_t,
                   EI_SHORT_PIXELS_8)
EI_ACCUMULATE_ROWS(ei_accumulate_rows_u8_avx2, whole_u8, small_u8, one_u8, uint8_t, uint16_t,
                   EI_SHORT_PIXELS_8)
EI_ACCUMULATE_ROWS(ei_accumulate_rows_s16_avx2, whole_s16, small_s16, one_s16, int16_t, int32_t,
                   EI_SHORT_PIXELS_16)
