/// A band of rows, cut into boxes: rows count through the outer axes of a shape like digits of a
/// number, and a box is a range of digits for each axis. There are at most two per axis.
#ifndef EI_OPS_ROW_BOXES_H
#define EI_OPS_ROW_BOXES_H

#include "ops/op.h"

/// Axes of a tensor that its rows count through: the others lie inside a row.
static inline uint32_t ei_outer_axes(const ei_tensor_record *tensor) {
    const uint32_t inside = tensor->rank >= 4 ? 2 : 1;
    return tensor->rank > inside ? tensor->rank - inside : 0;
}

typedef struct ei_row_box {
    uint32_t begin[EI_MAX_RANK], count[EI_MAX_RANK]; // for each outer axis
} ei_row_box;

/// The box at the start of rows [*row, end) of `tensor`; moves *row behind it. 0 when none is left.
int ei_row_box_next(const ei_tensor_record *tensor, uint32_t *row, uint32_t end, ei_row_box *box);

/// Positions that output positions [begin, begin + count) along an axis read; empty ones read none.
typedef ei_row_range (*ei_axis_reads)(const ei_node *node, uint32_t axis, uint32_t begin,
                                      uint32_t count);

/// From the first to the last row of x that rows [begin, end) of y read, where each axis of y reads
/// the same axis of x on its own.
ei_row_range ei_row_boxes_read(const ei_node *node, const ei_tensor_record *x,
                               const ei_tensor_record *y, ei_axis_reads reads, uint32_t begin,
                               uint32_t end);

#endif
