/// The sums of accumulate_rows.h, for every tier (kernels/blocks.h): the pixels of a row are added up in elements of twice
/// the size, as many as these hold, before they meet the int32 of y.
#ifndef EI_KERNELS_ACCUMULATE_ROWS_BLOCKS_H
#define EI_KERNELS_ACCUMULATE_ROWS_BLOCKS_H

#include "kernels/accumulate_rows/accumulate_rows.h"
#include "kernels/blocks.h"

// Channels of a block that is not a whole EI_BLOCK, while there are as many.
#define EI_SMALL_BLOCK 8

// Pixels whose sums the elements of twice the size hold: of int8 and uint8 in (u)int16, of int16 in int32.
#define EI_SHORT_PIXELS_8  256
#define EI_SHORT_PIXELS_16 65536

/// Defines `name`, which does `block` channels of a row: y = before + the sum of `width` pixels, `channels` elements apart.
/// `before` is y, another row or NULL.
#define EI_ACCUMULATE_BLOCK(name, block, type, short_type, short_pixels)                           \
    static void name(const type *x, size_t width, size_t channels, const uint32_t *before,         \
                     uint32_t *y) {                                                                \
        for (size_t first = 0; first < width; first += (short_pixels)) {                           \
            const size_t left = width - first;                                                     \
            const size_t pixels = left < (short_pixels) ? left : (short_pixels);                   \
            short_type shorts[block];                                                              \
            EI_SIDE_BY_SIDE                                                                        \
            for (size_t i = 0; i < (block); i++) {                                                 \
                shorts[i] = x[i];                                                                  \
            }                                                                                      \
            x += channels;                                                                         \
            for (size_t n = 1; n < pixels; n++, x += channels) {                                   \
                EI_SIDE_BY_SIDE                                                                    \
                for (size_t i = 0; i < (block); i++) {                                             \
                    shorts[i] = (short_type)(shorts[i] + x[i]);                                    \
                }                                                                                  \
            }                                                                                      \
            if (before == NULL) {                                                                  \
                EI_SIDE_BY_SIDE                                                                    \
                for (size_t i = 0; i < (block); i++) {                                             \
                    y[i] = (uint32_t)shorts[i];                                                    \
                }                                                                                  \
            } else {                                                                               \
                EI_SIDE_BY_SIDE                                                                    \
                for (size_t i = 0; i < (block); i++) {                                             \
                    y[i] = before[i] + (uint32_t)shorts[i];                                        \
                }                                                                                  \
            }                                                                                      \
            before = y;                                                                            \
        }                                                                                          \
    }

/// Defines `name`, and the blocks that it is made of.
#define EI_ACCUMULATE_ROWS(name, whole_block, small_block, one, type, short_type, short_pixels)    \
    EI_ACCUMULATE_BLOCK(whole_block, EI_BLOCK, type, short_type, short_pixels)                     \
    EI_ACCUMULATE_BLOCK(small_block, EI_SMALL_BLOCK, type, short_type, short_pixels)               \
    EI_ACCUMULATE_BLOCK(one, 1, type, short_type, short_pixels)                                    \
    void name(const ei_accumulate_rows_args *args, uint32_t begin, uint32_t end) {                 \
        const size_t channels = args->channels;                                                    \
        for (uint32_t r = begin; r < end; r++) {                                                   \
            const type *x = (const type *)ei_row(&args->x, r);                                     \
            uint32_t *y = (uint32_t *)ei_row(&args->y, r);                                         \
            const uint32_t *before =                                                               \
                r % args->height == 0 ? NULL : (const uint32_t *)ei_row(&args->y, r - 1);          \
            for (size_t c = 0, done; c < channels; c += done) {                                    \
                const uint32_t *carried = before == NULL ? NULL : before + c;                      \
                const size_t left = channels - c;                                                  \
                if (left >= EI_BLOCK) {                                                            \
                    whole_block(x + c, args->width, channels, carried, y + c);                     \
                    done = EI_BLOCK;                                                               \
                } else if (left >= EI_SMALL_BLOCK) {                                               \
                    small_block(x + c, args->width, channels, carried, y + c);                     \
                    done = EI_SMALL_BLOCK;                                                         \
                } else {                                                                           \
                    one(x + c, args->width, channels, carried, y + c);                             \
                    done = 1;                                                                      \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

#endif
