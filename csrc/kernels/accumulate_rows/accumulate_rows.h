/// Running sums of the rows of images, channel by channel: what a global pool needs of them.
#ifndef EI_KERNELS_ACCUMULATE_ROWS_H
#define EI_KERNELS_ACCUMULATE_ROWS_H

#include "kernels/rows.h"

typedef struct ei_accumulate_rows_args {
    ei_rows x;       // width * channels elements each
    ei_rows y;       // channels int32 each; shares no byte with x. Its ring may hold one row only
    uint32_t height; // rows of an image
    size_t width, channels;
} ei_accumulate_rows_args;

/// Rows [begin, end) of y, in ascending order: y[r] is the sum of the pixels of x[r], plus y[r - 1] unless row r is the
/// first of an image. Sums are modulo 2^32.
typedef void (*ei_accumulate_rows_fn)(const ei_accumulate_rows_args *args, uint32_t begin,
                                      uint32_t end);

void ei_accumulate_rows_s8_scalar(const ei_accumulate_rows_args *args, uint32_t begin,
                                  uint32_t end);
void ei_accumulate_rows_u8_scalar(const ei_accumulate_rows_args *args, uint32_t begin,
                                  uint32_t end);
void ei_accumulate_rows_s16_scalar(const ei_accumulate_rows_args *args, uint32_t begin,
                                   uint32_t end);

void ei_accumulate_rows_s8_avx2(const ei_accumulate_rows_args *args, uint32_t begin, uint32_t end);
void ei_accumulate_rows_u8_avx2(const ei_accumulate_rows_args *args, uint32_t begin, uint32_t end);
void ei_accumulate_rows_s16_avx2(const ei_accumulate_rows_args *args, uint32_t begin, uint32_t end);

void ei_accumulate_rows_s8_neon(const ei_accumulate_rows_args *args, uint32_t begin, uint32_t end);
void ei_accumulate_rows_u8_neon(const ei_accumulate_rows_args *args, uint32_t begin, uint32_t end);
void ei_accumulate_rows_s16_neon(const ei_accumulate_rows_args *args, uint32_t begin, uint32_t end);

#endif
