/// Walking two tensors of equally many rows side by side, as many rows at a time as lie one behind
/// another in both.
#ifndef EI_OPS_ROW_RUNS_H
#define EI_OPS_ROW_RUNS_H

#include "ops/op.h"

/// The first row after `begin` at which one of the rings starts over, or `end` when none does before:
/// rows [begin, result) are contiguous in a and in b.
static inline uint32_t ei_row_run_end(const ei_rows *a, const ei_rows *b, uint32_t begin,
                                      uint32_t end) {
    const uint32_t a_left = a->ring - begin % a->ring;
    const uint32_t b_left = b->ring - begin % b->ring;
    const uint32_t left = a_left < b_left ? a_left : b_left;
    return end - begin < left ? end : begin + left;
}

/// input_rows of an operator whose row r reads row r of its input (others being constants).
static inline ei_row_range ei_input_rows_same(const ei_node *node, uint32_t i, uint32_t begin,
                                              uint32_t end) {
    (void)node;
    (void)i;
    return (ei_row_range){begin, end};
}

/// All rows of input i, for an operator that needs them all in some cases only.
static inline ei_row_range ei_input_rows_all(const ei_node *node, uint32_t i) {
    return (ei_row_range){0, ei_node_input(node, i)->rows};
}

#endif
