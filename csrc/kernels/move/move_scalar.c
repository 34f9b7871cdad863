#include <string.h>

#include "kernels/move/move.h"
#include "kernels/move/run.h"

// A tile of a transposed copy: its lines of x and of y all stay in L1.
#define EI_TILE 32

/// Runs of contiguous bytes, one per row.
static void copy_runs(const ei_copy2d_args *args) {
    const ptrdiff_t bytes = (ptrdiff_t)args->element_bytes;
    const uint8_t *x = args->x;
    uint8_t *y = args->y;
    const size_t line = args->columns * args->element_bytes;
    const ptrdiff_t columns = (ptrdiff_t)args->columns;
    if (args->x_row_step == columns && args->y_row_step == columns) {
        memcpy(y, x, args->rows * line);
        return;
    }
    const ptrdiff_t x_step = args->x_row_step * bytes;
    const ptrdiff_t y_step = args->y_row_step * bytes;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)args->rows; i++) {
        ei_copy_run(y + i * y_step, x + i * x_step, line);
    }
}

#define EI_COPY_TILES(name, type)                                                                  \
    static void name(const ei_copy2d_args *args) {                                                 \
        const ptrdiff_t size = (ptrdiff_t)sizeof(type);                                            \
        const ptrdiff_t rows = (ptrdiff_t)args->rows;                                              \
        const ptrdiff_t columns = (ptrdiff_t)args->columns;                                        \
        const ptrdiff_t step = args->x_column_step * size;                                         \
        for (ptrdiff_t i0 = 0; i0 < rows; i0 += EI_TILE) {                                         \
            const ptrdiff_t i1 = rows - i0 < EI_TILE ? rows : i0 + EI_TILE;                        \
            for (ptrdiff_t j0 = 0; j0 < columns; j0 += EI_TILE) {                                  \
                const ptrdiff_t j1 = columns - j0 < EI_TILE ? columns : j0 + EI_TILE;              \
                for (ptrdiff_t i = i0; i < i1; i++) {                                              \
                    const uint8_t *from = (const uint8_t *)args->x + i * args->x_row_step * size;  \
                    uint8_t *to = (uint8_t *)args->y + i * args->y_row_step * size;                \
                    _Pragma("GCC unroll 4") for (ptrdiff_t j = j0; j < j1; j++) {                  \
                        type element;                                                              \
                        memcpy(&element, from + j * step, sizeof element);                         \
                        memcpy(to + j * size, &element, sizeof element);                           \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

EI_COPY_TILES(copy_tiles_b1, uint8_t)
EI_COPY_TILES(copy_tiles_b2, uint16_t)
EI_COPY_TILES(copy_tiles_b4, uint32_t)
EI_COPY_TILES(copy_tiles_b8, uint64_t)

void ei_copy2d_scalar(const ei_copy2d_args *args) {
    if (args->x_column_step == 1) {
        copy_runs(args);
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
    // Eight bytes at a time: 0x0001000100010001 times 2 bytes repeats them.
    uint64_t word = (uint64_t)value;
    if (element_bytes == 2) {
        word = (word & 0xffff) * 0x0001000100010001;
    } else if (element_bytes == 4) {
        word = (word & 0xffffffff) * 0x0000000100000001;
    }
    uint8_t *out = y;
    size_t left = count * element_bytes;
    for (; left >= sizeof word; left -= sizeof word) {
        memcpy(out, &word, sizeof word);
        out += sizeof word;
    }
    memcpy(out, &word, left); // little-endian, as all of the library
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
        ei_copy_run(y + i * pixel_bytes, x + (size_t)index[i] * pixel_bytes, pixel_bytes);
    }
}
