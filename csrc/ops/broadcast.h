/// NumPy broadcasting of two operands, cut into runs for elementwise kernels.
///
///     ei_broadcast walk;
///     ei_binary_run run;
///     ei_broadcast_begin(&walk, node, begin, end);
///     while (ei_broadcast_next(&walk, &run)) { kernel(&run, &args); }
#ifndef EI_OPS_BROADCAST_H
#define EI_OPS_BROADCAST_H

#include "kernels/binary.h"
#include "ops/op.h"

/// Checks that a and b (inputs 0 and 1) have the dtype of y, that y's shape is the one that they
/// broadcast to, and that an operand is whole unless row r of y reads just row r of it.
ei_status ei_broadcast_check(const ei_node *node);

/// input_rows: the same rows of an operand that has y's outer axes, all rows of any other.
ei_row_range ei_broadcast_input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end);

typedef struct ei_broadcast_operand {
    ei_rows rows;
    int follows;                   // row r of y reads row r, wherever that lies
    uint32_t strides[EI_MAX_RANK]; // for each axis of y, in elements; 0 where it is repeated
} ei_broadcast_operand;

// --- one operand by itself, for ops/lines.h
/// Dim of `tensor` at an axis of y, shapes being aligned at their last axes.
int32_t ei_aligned_dim(const ei_tensor_record *tensor, const ei_tensor_record *y, uint32_t axis);
/// Checks that `tensor` broadcasts to y, and that it is whole unless row r of y reads just row r of it.
ei_status ei_broadcast_check_shape(const ei_tensor_record *tensor, const char *what,
                                   const ei_tensor_record *y);
ei_broadcast_operand ei_broadcast_operand_of(const ei_view *view, const ei_tensor_record *y);
/// The element, `offset` elements on, that the first one of row `row` of y reads.
const uint8_t *ei_broadcast_at(const ei_broadcast_operand *operand, const ei_tensor_record *y,
                               uint32_t row, size_t offset, size_t element_bytes);

/// What an operand that repeats along the lines of a row is copied to, so that a run has many lines.
#define EI_REPEAT_BYTES 2048

/// Where a walk is.
typedef struct ei_broadcast {
    ei_broadcast_operand a, b;
    ei_rows y;
    const ei_tensor_record *shape; // of y
    size_t element_bytes;
    int flat;                // each operand is of y's shape or one element: runs may span rows
    uint32_t lines, line;    // runs in a row, and the next of them
    uint32_t line_axis;      // the axis of y that `line` counts along
    uint32_t width;          // elements of a run, of a row where flat
    uint32_t a_step, b_step; // in a run
    uint32_t row, end;
    // A line of this operand, one of a and b or NULL, meets all lines of a row: copies of it.
    const ei_broadcast_operand *repeated;
    uint32_t copies;
    const uint8_t *copied; // the line that they are of
    _Alignas(8) uint8_t repeats[EI_REPEAT_BYTES];
} ei_broadcast;

/// Begins `walk` at row `begin` of y. The node has passed ei_broadcast_check().
void ei_broadcast_begin(ei_broadcast *walk, const ei_bound_node *node, uint32_t begin,
                        uint32_t end);
/// The next run, or 0 after the last one.
int ei_broadcast_next(ei_broadcast *walk, ei_binary_run *run);

#endif
