/// NumPy broadcasting of up to three operands of any dtypes, cut into lines along y's last axis: what
/// ops/broadcast.h does for two operands of one dtype, in longer runs.
///
///     ei_lines lines;
///     ei_plain_line line;
///     ei_lines_begin(&lines, node, begin, end);
///     while (ei_lines_next(&lines, &line)) { kernel(&line, ...); }
#ifndef EI_OPS_LINES_H
#define EI_OPS_LINES_H

#include "kernels/plain.h"
#include "ops/broadcast.h"

#define EI_MAX_LINE_OPERANDS 3

typedef struct ei_lines {
    ei_broadcast_operand operands[EI_MAX_LINE_OPERANDS];
    size_t bytes[EI_MAX_LINE_OPERANDS]; // of an element
    uint32_t count;                     // of operands
    ei_rows y;
    const ei_tensor_record *shape; // of y
    uint32_t lines, line;          // in a row, and the next one
    uint32_t row, end;
} ei_lines;

/// Checks that y's shape is the one that all inputs broadcast to, and that an operand is whole unless
/// row r of y reads just row r of it. Dtypes are the caller's.
ei_status ei_lines_check(const ei_node *node, const char *const *names);

/// Operand 0 is the line's a, 1 its b, 2 its c. The node has passed ei_lines_check().
void ei_lines_begin(ei_lines *lines, const ei_bound_node *node, uint32_t begin, uint32_t end);
int ei_lines_next(ei_lines *lines, ei_plain_line *line);

#endif
