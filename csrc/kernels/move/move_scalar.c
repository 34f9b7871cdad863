#include <string.h>

#include "kernels/move/move.h"

// A tile of a transposed copy: its lines of x and of y all stay in L1.
#define EI_TILE 32

#define EI_COPY_TILES(name, type)                                                                  \
    static void name(const ei_copy2d_args *args) {                                                 \
        const type *x = args->x;                                                                   \
        type *y = args->y;                                                                         \
        const ptrdiff_t rows = (ptrdiff_t)args->rows;                                              \
        const ptrdiff_t columns = (ptrdiff_t)args->columns;                                        \
        for (ptrdiff_t i0 = 0; i0 < rows; i0 += EI_TILE) {                                         \
            const ptrdiff_t i1 = rows - i0 < EI_TILE ? rows : i0 + EI_TILE;                        \
            for (ptrdiff_t j0 = 0; j0 < columns; j0 += EI_TILE) {                                  \
                const ptrdiff_t j1 = columns - j0 < EI_TILE ? columns : j0 + EI_TILE;              \
                for (ptrdiff_t i = i0; i < i1; i++) {                                              \
                    const type *from = x + i * args->x_row_step;                                   \
                    type *to = y + i * args->y_row_step;                                           \
                    for (ptrdiff_t j = j0; j < j1; j++) {                                          \
                        to[j] = from[j * args->x_column_step];                                     \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

EI_COPY_TILES(copy_tiles_b1, uint8_t)
EI_COPY_TILES(copy_tiles_b2, uint16_t)
EI_COPY_TILES(copy_tiles_b4, uint32_t)
EI_COPY_TILES(copy_tiles_b8, uint64_t)

static void copy_lines(const ei_copy2d_args *args) {
    const ptrdiff_t bytes = (ptrdiff_t)args->element_bytes;
    const uint8_t *x = args->x;
    uint8_t *y = args->y;
    const size_t line = args->columns * args->element_bytes;
    const ptrdiff_t columns = (ptrdiff_t)args->columns;
    if (args->x_row_step == columns && args->y_row_step == columns) {
        memcpy(y, x, args->rows * line);
        return;
    }
    for (ptrdiff_t i = 0; i < (ptrdiff_t)args->rows; i++) {
        memcpy(y + i * args->y_row_step * bytes, x + i * args->x_row_step * bytes, line);
    }
}

void ei_copy2d_scalar(const ei_copy2d_args *args) {
    if (args->x_column_step == 1) {
        copy_lines(args);
    } else if (args->element_bytes == 1) {
        copy_tiles_b1(args);
    } else if (args->element_bytes == 2) {
        copy_tiles_b2(args);
    } else if (args->element_bytes == 4) {
        copy_tiles_b4(args);
    } else {
        copy_tiles_b8(args);
    }
}

void ei_fill_scalar(void *y, size_t count, int64_t value, uint32_t element_bytes) {
    if (element_bytes == 1) {
        memset(y, (int)(value & 0xff), count);
        return;
    }
    uint8_t *out = y;
    for (size_t i = 0; i < count; i++) {
        memcpy(out + i * element_bytes, &value, element_bytes); // little-endian: the low bytes
    }
}

void ei_take_scalar(const uint8_t *x, uint8_t *y, const int32_t *index, size_t count,
                    size_t pixel_bytes) {
    if (pixel_bytes == 1) {
        for (size_t i = 0; i < count; i++) {
            y[i] = x[index[i]];
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(y + i * pixel_bytes, x + (size_t)index[i] * pixel_bytes, pixel_bytes);
    }
}
