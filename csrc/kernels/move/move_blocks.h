/// Transposed copies by interleaving vectors of 16 bytes, for the tiers that have instructions for it.
///
/// A block has V lines of E = 16 / element_bytes elements (V <= E, both powers of two) in V vectors.
/// Interleaving vector i with vector i + V / 2, for each i, turns the bits of an element's number around
/// by one:
///
///     number of an element = (line v_1 v_0 | position e_2 e_1 e_0)  ->  (v_0 e_2 | e_1 e_0 v_1)
///
/// so that log2(V) such steps leave the lines interleaved, element by element, and log2(E) steps
/// undo that. Lengths that blocks do not divide end in a block that overlaps the one before.
///
/// The file of a tier defines, before it includes this: ei_vector; low1, high1 to low4, high4, which
/// interleave the lower and the upper halves of two vectors by elements of so many bytes; load, store;
/// load_pieces, store_pieces.
#ifndef EI_KERNELS_MOVE_BLOCKS_H
#define EI_KERNELS_MOVE_BLOCKS_H

#include "kernels/move/move.h"
#include "kernels/unroll.h"

typedef ei_vector (*ei_unpack)(ei_vector a, ei_vector b);

EI_ALWAYS_INLINE void turn(ei_vector *v, int count, int steps, ei_unpack low, ei_unpack high) {
    EI_UNROLL
    for (int step = 0; step < steps; step++) {
        ei_vector next[16];
        EI_UNROLL
        for (int i = 0; i < count / 2; i++) {
            next[2 * i] = low(v[i], v[i + count / 2]);
            next[2 * i + 1] = high(v[i], v[i + count / 2]);
        }
        EI_UNROLL
        for (int i = 0; i < count; i++) {
            v[i] = next[i];
        }
    }
}

/// Lines of x become columns of y, or columns of x lines of y. Steps are in bytes: from one line of x
/// along which elements are contiguous to the next, and the same of y.
typedef void (*ei_block_fn)(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step);

#define EI_INTERLEAVE(name, lines, steps, piece, size)                                             \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        ei_vector v[lines];                                                                        \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            v[i] = load(x + i * x_step);                                                           \
        }                                                                                          \
        turn(v, lines, steps, low##size, high##size);                                              \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            store_pieces(y + i * (16 / (piece)) * y_step, y_step, piece, v[i]);                    \
        }                                                                                          \
    }
#define EI_PART(name, lines, steps, piece, size)                                                   \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        ei_vector v[lines];                                                                        \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            v[i] = load_pieces(x + i * (16 / (piece)) * x_step, x_step, piece);                    \
        }                                                                                          \
        turn(v, lines, steps, low##size, high##size);                                              \
        EI_UNROLL                                                                                  \
        for (int i = 0; i < (lines); i++) {                                                        \
            store(y + i * y_step, v[i]);                                                           \
        }                                                                                          \
    }

EI_INTERLEAVE(transpose16_b1, 16, 4, 16, 1)
EI_INTERLEAVE(interleave8_b1, 8, 3, 8, 1)
EI_INTERLEAVE(interleave4_b1, 4, 2, 4, 1)
EI_PART(part8_b1, 8, 4, 8, 1)
EI_PART(part4_b1, 4, 4, 4, 1)
EI_INTERLEAVE(transpose8_b2, 8, 3, 16, 2)
EI_INTERLEAVE(interleave4_b2, 4, 2, 8, 2)
EI_PART(part4_b2, 4, 3, 8, 2)
EI_INTERLEAVE(transpose4_b4, 4, 2, 16, 4)

/// Covers the array with blocks. In x, where rows are contiguous, whole cache lines at a time.
static void copy_blocks(const ei_copy2d_args *args, ei_block_fn block, size_t block_rows,
                        size_t block_columns) {
    const ptrdiff_t size = (ptrdiff_t)args->element_bytes;
    const uint8_t *x = args->x;
    uint8_t *y = args->y;
    const ptrdiff_t x_step = args->x_column_step * size;
    const ptrdiff_t y_step = args->y_row_step * size;
    const size_t last_row = args->rows - block_rows;
    const size_t last_column = args->columns - block_columns;
    const size_t line = 64 / args->element_bytes;
    for (size_t top = 0; top < args->rows; top += line) {
        const size_t bottom = args->rows - top < line ? args->rows : top + line;
        for (size_t column = 0; column < args->columns; column += block_columns) {
            const size_t j = column < last_column ? column : last_column;
            for (size_t row = top; row < bottom; row += block_rows) {
                const size_t i = row < last_row ? row : last_row;
                block(x + (ptrdiff_t)i * size + (ptrdiff_t)j * x_step, x_step,
                      y + (ptrdiff_t)i * y_step + (ptrdiff_t)j * size, y_step);
            }
        }
    }
}

/// A kind of block, and the arrays that it suits: at least as large; where it has two or three rows
/// or columns, with just as many, side by side.
typedef struct ei_block {
    uint32_t element_bytes, rows, columns;
    ei_block_fn copy;
} ei_block;

static int suits(const ei_block *block, const ei_copy2d_args *args) {
    if (block->element_bytes != args->element_bytes || block->rows > args->rows ||
        block->columns > args->columns) {
        return 0;
    }
    if (block->columns < 4) {
        return block->columns == args->columns && args->y_row_step == (ptrdiff_t)args->columns;
    }
    return block->rows >= 4 ||
           (block->rows == args->rows && args->x_column_step == (ptrdiff_t)args->rows);
}

/// Copies by the first block that suits, or as the scalar version does.
static void copy_by(const ei_block *blocks, size_t count, const ei_copy2d_args *args) {
    if (args->x_row_step == 1 && args->x_column_step != 1) {
        for (size_t i = 0; i < count; i++) {
            if (suits(&blocks[i], args)) {
                copy_blocks(args, blocks[i].copy, blocks[i].rows, blocks[i].columns);
                return;
            }
        }
    }
    ei_copy2d_scalar(args);
}

#endif
