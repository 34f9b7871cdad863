/// Elements moved, never looked at: only their size matters.
#ifndef EI_KERNELS_MOVE_H
#define EI_KERNELS_MOVE_H

#include <stddef.h>
#include <stdint.h>

typedef struct ei_copy2d_args {
    const void *x; // the element for y's first one
    void *y;       // shares no byte with x
    size_t rows, columns;
    ptrdiff_t x_row_step, x_column_step; // in elements, of either sign
    ptrdiff_t y_row_step;                // in elements; y's columns lie side by side
    uint32_t element_bytes; // 1, 2, 4 or 8, at any address; any number when x_column_step is 1
} ei_copy2d_args;

/// y[i * y_row_step + j] = x[i * x_row_step + j * x_column_step], i < rows, j < columns.
typedef void (*ei_copy2d_fn)(const ei_copy2d_args *args);

/// y[i] = the low bytes of value, i < count. Negative values fill 8 bytes with their sign.
typedef void (*ei_fill_fn)(void *y, size_t count, int64_t value, uint32_t element_bytes);

/// Pixel i of y is pixel index[i] of x, i < count; pixel_bytes may be any number.
typedef void (*ei_take_fn)(const uint8_t *x, uint8_t *y, const int32_t *index, size_t count,
                           size_t pixel_bytes);

void ei_copy2d_scalar(const ei_copy2d_args *args);
void ei_copy2d_avx2(const ei_copy2d_args *args);
void ei_copy2d_neon(const ei_copy2d_args *args);
void ei_fill_scalar(void *y, size_t count, int64_t value, uint32_t element_bytes);
void ei_take_scalar(const uint8_t *x, uint8_t *y, const int32_t *index, size_t count,
                    size_t pixel_bytes);

#endif
