/// Where along an axis the largest or smallest element is.
#ifndef EI_KERNELS_ARGMAX_H
#define EI_KERNELS_ARGMAX_H

#include <stddef.h>
#include <stdint.h>

typedef struct ei_argmax_args {
    const void *x; // where the first search begins
    void *y;       // `count` indices, int32 or int64, side by side; shares no byte with x
    size_t count;
    size_t step;         // elements of x from where one search begins to where the next one does
    size_t size;         // elements of a search, 1 and up
    size_t stride;       // elements of x from one to the next
    uint32_t y_bytes;    // of an index: 4 or 8
    int32_t minimum;     // 1: the smallest
    int32_t select_last; // 1: the last of equals, 0: the first
} ei_argmax_args;

/// A search starts with element 0 as its best and replaces it by each that is larger (minimum:
/// smaller), or, with select_last, larger or equal. So a NaN never replaces another element, and is
/// never replaced when it is the first.
typedef void (*ei_argmax_fn)(const ei_argmax_args *args);

void ei_argmax_s8_scalar(const ei_argmax_args *args);
void ei_argmax_u8_scalar(const ei_argmax_args *args);
void ei_argmax_s16_scalar(const ei_argmax_args *args);
void ei_argmax_s32_scalar(const ei_argmax_args *args);
void ei_argmax_f32_scalar(const ei_argmax_args *args);

void ei_argmax_s8_avx2(const ei_argmax_args *args);
void ei_argmax_u8_avx2(const ei_argmax_args *args);

void ei_argmax_s8_neon(const ei_argmax_args *args);
void ei_argmax_u8_neon(const ei_argmax_args *args);

#endif
