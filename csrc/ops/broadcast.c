#include "ops/broadcast.h"

#include <string.h>

#include "ops/check.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

int32_t ei_aligned_dim(const ei_tensor_record *tensor, const ei_tensor_record *y, uint32_t axis) {
    const uint32_t missing = (uint32_t)(y->rank - tensor->rank);
    return axis < missing ? 1 : tensor->dims[axis - missing];
}

static int follows(const ei_tensor_record *tensor, const ei_tensor_record *y) {
    for (uint32_t axis = 0; axis < ei_outer_axes(y); axis++) {
        if (ei_aligned_dim(tensor, y, axis) != y->dims[axis]) {
            return 0;
        }
    }
    return tensor->rows == y->rows; // not so where ranks cut rows elsewhere
}

ei_status ei_broadcast_check_shape(const ei_tensor_record *tensor, const char *what,
                                   const ei_tensor_record *y) {
    EI_TRY(ei_check_rank(tensor, what, 0, y->rank));
    const uint32_t missing = (uint32_t)(y->rank - tensor->rank);
    for (uint32_t axis = 0; axis < tensor->rank; axis++) {
        if (tensor->dims[axis] != 1) {
            EI_TRY(ei_check_dim(tensor, what, axis, y->dims[axis + missing]));
        }
    }
    return follows(tensor, y) ? EI_OK : ei_check_whole(tensor, what);
}

static ei_status check_operand(const ei_tensor_record *tensor, const char *what,
                               const ei_tensor_record *y) {
    EI_TRY(ei_check_same_dtype(tensor, what, y, "y"));
    return ei_broadcast_check_shape(tensor, what, y);
}

ei_status ei_broadcast_check(const ei_node *node) {
    const ei_tensor_record *a = ei_node_input(node, 0);
    const ei_tensor_record *b = ei_node_input(node, 1);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(check_operand(a, "a", y));
    EI_TRY(check_operand(b, "b", y));
    if (a->rank < y->rank && b->rank < y->rank) {
        return ei_check_rank(y, "y", 0, a->rank > b->rank ? a->rank : b->rank);
    }
    for (uint32_t axis = 0; axis < y->rank; axis++) {
        if (ei_aligned_dim(a, y, axis) == 1 && ei_aligned_dim(b, y, axis) == 1) {
            EI_TRY(ei_check_dim(y, "y", axis, 1));
        }
    }
    return EI_OK;
}

ei_row_range ei_broadcast_input_rows(const ei_node *node, uint32_t i, uint32_t begin,
                                     uint32_t end) {
    if (follows(ei_node_input(node, i), ei_node_output(node, 0))) {
        return (ei_row_range){begin, end};
    }
    return ei_input_rows_all(node, i);
}

ei_broadcast_operand ei_broadcast_operand_of(const ei_view *view, const ei_tensor_record *y) {
    ei_broadcast_operand operand = {.rows = ei_view_rows(view),
                                    .follows = follows(view->tensor, y)};
    uint32_t stride = 1;
    for (uint32_t axis = y->rank; axis-- > 0;) {
        const uint32_t dim = (uint32_t)ei_aligned_dim(view->tensor, y, axis);
        operand.strides[axis] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return operand;
}

/// Whether lines of `operand` that are all the same meet lines of `other` that follow each other.
static int repeats_under(const ei_broadcast *walk, const ei_broadcast_operand *operand,
                         const ei_broadcast_operand *other, uint32_t inner) {
    return operand->strides[inner] == 1 && operand->strides[walk->line_axis] == 0 &&
           other->strides[inner] == 1 && other->strides[walk->line_axis] == walk->width;
}

/// A row of two axes is one run where both operands lie under it in one run, else lines.
static void cut_into_lines(ei_broadcast *walk) {
    const uint32_t inner = walk->shape->rank - 1u;
    const uint32_t outer = inner - 1;
    const uint32_t width = (uint32_t)walk->shape->dims[inner];
    const int joined = walk->a.strides[outer] == walk->a_step * width &&
                       walk->b.strides[outer] == walk->b_step * width;
    if (width == 1) {
        walk->a_step = walk->a.strides[outer];
        walk->b_step = walk->b.strides[outer];
        return;
    }
    if (joined) {
        return;
    }
    walk->line_axis = outer;
    walk->lines = (uint32_t)walk->shape->dims[outer];
    walk->width = width;
    const size_t copies = EI_REPEAT_BYTES / walk->element_bytes / width;
    if (copies < 2) {
        return;
    }
    walk->copies = copies < walk->lines ? (uint32_t)copies : walk->lines;
    if (repeats_under(walk, &walk->b, &walk->a, inner)) {
        walk->repeated = &walk->b;
    } else if (repeats_under(walk, &walk->a, &walk->b, inner)) {
        walk->repeated = &walk->a;
    }
}

void ei_broadcast_begin(ei_broadcast *walk, const ei_bound_node *node, uint32_t begin,
                        uint32_t end) {
    const ei_view *a = ei_input_view(node, 0);
    const ei_view *b = ei_input_view(node, 1);
    const ei_view *out = ei_output_view(node, 0);
    const ei_tensor_record *y = out->tensor;
    walk->a = ei_broadcast_operand_of(a, y);
    walk->b = ei_broadcast_operand_of(b, y);
    walk->y = ei_view_rows(out);
    walk->shape = y;
    walk->element_bytes = ei_dtype_bytes(y->dtype);
    walk->lines = 1;
    walk->line = 0;
    walk->line_axis = 0;
    walk->width = ei_tensor_elements(y) / y->rows;
    walk->row = begin;
    walk->end = end;
    walk->repeated = NULL;
    walk->copied = NULL;
    const uint32_t a_elements = ei_tensor_elements(a->tensor);
    const uint32_t b_elements = ei_tensor_elements(b->tensor);
    const uint32_t y_elements = ei_tensor_elements(y);
    walk->flat = (a_elements == 1 || (a_elements == y_elements && walk->a.follows)) &&
                 (b_elements == 1 || (b_elements == y_elements && walk->b.follows));
    if (walk->flat) {
        walk->a_step = a_elements != 1;
        walk->b_step = b_elements != 1;
        return;
    }
    const uint32_t inner = y->rank - 1u; // at least one axis, or it would be flat
    walk->a_step = walk->a.strides[inner];
    walk->b_step = walk->b.strides[inner];
    if (y->rank >= 4) {
        cut_into_lines(walk);
    }
}

const uint8_t *ei_broadcast_at(const ei_broadcast_operand *operand, const ei_tensor_record *y,
                               uint32_t row, size_t offset, size_t element_bytes) {
    if (operand->follows) {
        return ei_row(&operand->rows, row) + offset * element_bytes;
    }
    for (uint32_t axis = ei_outer_axes(y); axis-- > 0;) {
        const uint32_t dim = (uint32_t)y->dims[axis];
        offset += (size_t)(row % dim) * operand->strides[axis];
        row /= dim;
    }
    return operand->rows.base + offset * element_bytes;
}

/// The element of an operand that the first element of row `row`, line `line` of y reads.
static const uint8_t *operand_at(const ei_broadcast *walk, const ei_broadcast_operand *operand) {
    const size_t offset = (size_t)walk->line * operand->strides[walk->line_axis];
    return ei_broadcast_at(operand, walk->shape, walk->row, offset, walk->element_bytes);
}

/// `line` again and again.
static const void *copies_of(ei_broadcast *walk, const uint8_t *line) {
    if (line != walk->copied) {
        const size_t bytes = walk->width * walk->element_bytes;
        for (size_t i = 0; i < walk->copies; i++) {
            memcpy(walk->repeats + i * bytes, line, bytes);
        }
        walk->copied = line;
    }
    return walk->repeats;
}

int ei_broadcast_next(ei_broadcast *walk, ei_binary_run *run) {
    if (walk->row >= walk->end) {
        return 0;
    }
    const size_t column = (size_t)walk->line * walk->width * walk->element_bytes;
    run->a = operand_at(walk, &walk->a);
    run->b = operand_at(walk, &walk->b);
    run->y = ei_row(&walk->y, walk->row) + column;
    run->a_step = walk->a_step;
    run->b_step = walk->b_step;
    run->count = walk->width;
    if (walk->flat) {
        // One element has no rows to run out of.
        uint32_t next = ei_row_run_end(&walk->y, &walk->y, walk->row, walk->end);
        if (walk->a.follows) {
            next = ei_row_run_end(&walk->a.rows, &walk->y, walk->row, next);
        }
        if (walk->b.follows) {
            next = ei_row_run_end(&walk->b.rows, &walk->y, walk->row, next);
        }
        run->count = (size_t)(next - walk->row) * walk->width;
        walk->row = next;
        return 1;
    }
    if (walk->repeated != NULL) {
        const uint32_t left = walk->lines - walk->line;
        const uint32_t lines = left < walk->copies ? left : walk->copies;
        run->count = (size_t)lines * walk->width;
        const void **line = walk->repeated == &walk->a ? &run->a : &run->b;
        *line = copies_of(walk, *line);
        walk->line += lines - 1;
    }
    if (++walk->line == walk->lines) {
        walk->line = 0;
        walk->row++;
    }
    return 1;
}
