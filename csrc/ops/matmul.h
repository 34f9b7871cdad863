/// A batch of matrix products, cut into pieces that are dense in memory. Up to rank 3 a row of a
/// tensor is a row of a matrix, above that it is a whole matrix; so a piece is some rows of one
/// matrix of y, contiguous in the rings of a and y, times one matrix of b.
#ifndef EI_OPS_MATMUL_H
#define EI_OPS_MATMUL_H

#include "ops/op.h"

/// Ranks, dtypes (one of the set, the same of all), shapes and broadcast of operands a, b and y.
ei_status ei_check_matmul(const ei_node *node, uint32_t dtypes, int32_t transpose_b);

ei_row_range ei_matmul_input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end);

typedef struct ei_matmul_piece {
    const void *a, *b;
    void *y;
    uint32_t m, k, n;
    uint32_t rows; // of y that it makes
} ei_matmul_piece;

/// The piece that begins with row `row` of y and ends before row `end`.
ei_matmul_piece ei_matmul_piece_of(const ei_bound_node *node, uint32_t row, uint32_t end);

/// Multiplications in a row of y.
uint64_t ei_matmul_row_products(const ei_bound_node *node);

#endif
