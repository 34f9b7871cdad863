/// How kernels see activations: by rows. Kernels know nothing of tensors or models.
#ifndef EI_KERNELS_ROWS_H
#define EI_KERNELS_ROWS_H

#include <stddef.h>
#include <stdint.h>

/// Rows of a tensor. Row r lies at base + (r mod ring) * row_bytes; a whole tensor has ring == rows.
typedef struct ei_rows {
    uint8_t *base;
    uint32_t rows;
    uint32_t ring;
    uint32_t row_bytes;
} ei_rows;

/// Address of row r, 0 <= r < rows.
static inline uint8_t *ei_row(const ei_rows *rows, uint32_t r) {
    return rows->base + (size_t)(r < rows->ring ? r : r % rows->ring) * rows->row_bytes;
}

/// Address of row y of image n, each image having `height` rows, or `outside` when y is not in the image.
static inline const uint8_t *ei_image_row(const ei_rows *rows, uint32_t n, int64_t y,
                                          uint32_t height, const uint8_t *outside) {
    if (y < 0 || y >= (int64_t)height)
        return outside;
    return ei_row(rows, n * height + (uint32_t)y);
}

#endif
