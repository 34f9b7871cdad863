#include <stdio.h>
#include <string.h>

#include "kernels/move/run.h"
#include "ops/check.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

enum { CONSTANT, REFLECT, SYMMETRIC, EDGE };

static const int32_t *befores(const void *params) {
    return params;
}

static ei_status check(const ei_node *node) {
    const ei_pad_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_rank(y, "y", x->rank, x->rank));
    EI_TRY(ei_check_int(p->mode, "mode", CONSTANT, EDGE));
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        char what[32];
        const int64_t dim = x->dims[axis];
        const int64_t before = befores(p)[axis];
        // Mirrored positions come from one mirroring, so that they lie inside x.
        const int64_t most =
            p->mode == REFLECT ? dim - 1 : (p->mode == SYMMETRIC ? dim : EI_MAX_TENSOR_BYTES);
        snprintf(what, sizeof what, "before_%u", (unsigned)axis);
        EI_TRY(ei_check_int(before, what, 0, most));
        snprintf(what, sizeof what, "elements after axis %u", (unsigned)axis);
        EI_TRY(ei_check_int(y->dims[axis] - dim - before, what, 0, most));
    }
    return EI_OK;
}

/// Position along an axis of x that position `at` along that axis of y reads, or -1 when it reads the
/// constant.
static int64_t source(const ei_pad_params *p, const ei_tensor_record *x, uint32_t axis,
                      int64_t at) {
    const int64_t dim = x->dims[axis];
    const int64_t inside = at - befores(p)[axis];
    if (inside >= 0 && inside < dim) {
        return inside;
    }
    switch (p->mode) {
    case REFLECT: return inside < 0 ? -inside : 2 * (dim - 1) - inside;
    case SYMMETRIC: return inside < 0 ? -inside - 1 : 2 * dim - 1 - inside;
    case EDGE: return inside < 0 ? 0 : dim - 1;
    default: return -1;
    }
}

static ei_row_range axis_reads(const ei_node *node, uint32_t axis, uint32_t begin, uint32_t count) {
    const ei_pad_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    // Before x, inside and after it, source() is monotonous: the ends of these parts tell.
    const int64_t past = (int64_t)begin + count;
    const int64_t inside = befores(p)[axis];
    const int64_t cuts[] = {0, inside, inside + x->dims[axis], INT64_MAX};
    ei_row_range range = {UINT32_MAX, 0};
    for (int part = 0; part < 3; part++) {
        const int64_t first = begin > cuts[part] ? begin : cuts[part];
        const int64_t last = (past < cuts[part + 1] ? past : cuts[part + 1]) - 1;
        if (first > last) {
            continue;
        }
        const int64_t ends[] = {source(p, x, axis, first), source(p, x, axis, last)};
        for (int i = 0; i < 2 && ends[i] >= 0; i++) {
            const uint32_t at = (uint32_t)ends[i];
            range.begin = at < range.begin ? at : range.begin;
            range.end = at + 1 > range.end ? at + 1 : range.end;
        }
    }
    return range;
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    return ei_row_boxes_read(node, ei_node_input(node, i), ei_node_output(node, 0), axis_reads,
                             begin, end);
}

/// Row of x that row r of y reads, or -1 when all of it is the constant.
static int64_t source_row(const ei_pad_params *p, const ei_tensor_record *x,
                          const ei_tensor_record *y, uint32_t r) {
    int64_t row = 0;
    int64_t unit = 1;
    for (uint32_t axis = ei_outer_axes(y); axis-- > 0;) {
        const uint32_t dim = (uint32_t)y->dims[axis];
        const int64_t at = source(p, x, axis, r % dim);
        if (at < 0) {
            return -1;
        }
        row += at * unit;
        unit *= x->dims[axis];
        r /= dim;
    }
    return row;
}

/// Some lines of x, of width `x_width`, and as many of y.
typedef struct ei_lines {
    size_t count, x_width, y_width; // in elements
    const uint8_t *x;
    uint8_t *y;
} ei_lines;

/// The constant around each line.
static void surround_lines(const ei_pad_params *p, const ei_kernels *kernels, size_t before,
                           uint32_t bytes, const ei_lines *lines) {
    if (lines->x_width == lines->y_width) {
        memcpy(lines->y, lines->x, lines->count * lines->x_width * bytes);
        return;
    }
    const ei_copy2d_args args = {
        .x = lines->x,
        .y = lines->y + before * bytes,
        .rows = lines->count,
        .columns = lines->x_width,
        .x_row_step = (ptrdiff_t)lines->x_width,
        .x_column_step = 1,
        .y_row_step = (ptrdiff_t)lines->y_width,
        .element_bytes = bytes,
    };
    // One call each: lines are often shorter than a call takes.
    kernels->fill(lines->y, lines->count * lines->y_width, p->value, bytes);
    kernels->copy2d(&args);
}

/// One line of y along the last axis, from that line of x and its elements mirrored or repeated.
static void extend_line(const ei_pad_params *p, const ei_tensor_record *x,
                        const ei_tensor_record *y, const uint8_t *from, uint8_t *to) {
    const uint32_t axis = y->rank - 1u;
    const size_t bytes = ei_dtype_bytes(y->dtype);
    const size_t before = (size_t)befores(p)[axis];
    const size_t inside = (size_t)x->dims[axis];
    const size_t all = (size_t)y->dims[axis];
    ei_copy_run(to + before * bytes, from, inside * bytes);
    for (size_t at = 0; at < all; at++) {
        if (at == before) {
            at += inside;
            if (at == all) {
                break;
            }
        }
        const size_t reads = (size_t)source(p, x, axis, (int64_t)at);
        ei_copy_run(to + at * bytes, from + reads * bytes, bytes);
    }
}

/// A row that is an image line or the like: lines along its last axis, themselves padded.
static void pad_row(const ei_pad_params *p, const ei_tensor_record *x, const ei_tensor_record *y,
                    const ei_kernels *kernels, const uint8_t *from, uint8_t *to) {
    const uint32_t axis = y->rank - 2u;
    const uint32_t bytes = ei_dtype_bytes(y->dtype);
    const size_t before = (size_t)befores(p)[axis];
    const size_t all = (size_t)y->dims[axis];
    const ei_lines inside = {
        .count = (size_t)x->dims[axis],
        .x_width = (size_t)x->dims[axis + 1],
        .y_width = (size_t)y->dims[axis + 1],
        .x = from,
        .y = to + before * (size_t)y->dims[axis + 1] * bytes,
    };
    const size_t line_bytes = inside.y_width * bytes;
    if (p->mode == CONSTANT) {
        const size_t behind = before + inside.count;
        kernels->fill(to, before * inside.y_width, p->value, bytes);
        surround_lines(p, kernels, (size_t)befores(p)[axis + 1], bytes, &inside);
        kernels->fill(to + behind * line_bytes, (all - behind) * inside.y_width, p->value, bytes);
        return;
    }
    for (size_t line = 0; line < all; line++) {
        if (line == before && inside.x_width == inside.y_width) { // all lines of x at once
            memcpy(inside.y, from, inside.count * line_bytes);
            line += inside.count - 1;
            continue;
        }
        const size_t reads = (size_t)source(p, x, axis, (int64_t)line);
        extend_line(p, x, y, from + reads * inside.x_width * bytes, to + line * line_bytes);
    }
}

/// How many rows from r on, row `from` of x being the first that they read, lie behind one another in
/// x and in y.
static uint32_t rows_together(const ei_pad_params *p, const ei_tensor_record *x_tensor,
                              const ei_tensor_record *y_tensor, const ei_rows *x, const ei_rows *y,
                              uint32_t from, uint32_t r, uint32_t end) {
    if (y_tensor->rank < 2) {
        return 1;
    }
    const uint32_t axis = y_tensor->rank - 2u;
    const int64_t inside = r % (uint32_t)y_tensor->dims[axis] - (int64_t)befores(p)[axis];
    if (inside < 0 || inside >= x_tensor->dims[axis]) {
        return 1;
    }
    const uint32_t left = (uint32_t)(x_tensor->dims[axis] - inside);
    const uint32_t y_together = ei_row_run_end(y, y, r, end) - r;
    const uint32_t count = left < y_together ? left : y_together;
    return ei_row_run_end(x, x, from, from + count) - from;
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_pad_params *p = node->params;
    const ei_tensor_record *x_tensor = ei_input_view(node, 0)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const ei_kernels *kernels = context->kernels;
    const uint32_t rank = y_tensor->rank;
    const uint32_t bytes = ei_dtype_bytes(y_tensor->dtype);
    for (uint32_t r = begin, next; r < end; r = next) {
        const int64_t from = source_row(p, x_tensor, y_tensor, r);
        uint8_t *to = ei_row(&y, r);
        next = r + 1;
        if (from < 0) {
            kernels->fill(to, y.row_bytes / bytes, p->value, bytes);
        } else if (rank >= 4) {
            pad_row(p, x_tensor, y_tensor, kernels, ei_row(&x, (uint32_t)from), to);
        } else if (p->mode == CONSTANT) {
            next = r + rows_together(p, x_tensor, y_tensor, &x, &y, (uint32_t)from, r, end);
            const ei_lines lines = {
                .count = next - r,
                .x_width = x.row_bytes / bytes,
                .y_width = y.row_bytes / bytes,
                .x = ei_row(&x, (uint32_t)from),
                .y = to,
            };
            surround_lines(p, kernels, (size_t)befores(p)[rank - 1], bytes, &lines);
        } else {
            extend_line(p, x_tensor, y_tensor, ei_row(&x, (uint32_t)from), to);
        }
    }
    return EI_OK;
}

const ei_op ei_op_pad = {
    .name = "pad",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
