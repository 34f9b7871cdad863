#include <stdio.h>
#include <string.h>

#include "ops/check.h"
#include "ops/row_boxes.h"

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

/// One line of y along the last axis, from that line of x.
static void pad_line(const ei_pad_params *p, const ei_tensor_record *x, const ei_tensor_record *y,
                     ei_fill_fn fill, const uint8_t *from, uint8_t *to) {
    const uint32_t axis = y->rank - 1u;
    const size_t bytes = ei_dtype_bytes(y->dtype);
    const size_t before = (size_t)befores(p)[axis];
    const size_t inside = (size_t)x->dims[axis];
    const size_t all = (size_t)y->dims[axis];
    memcpy(to + before * bytes, from, inside * bytes);
    if (p->mode == CONSTANT) {
        fill(to, before, p->value, (uint32_t)bytes);
        fill(to + (before + inside) * bytes, all - before - inside, p->value, (uint32_t)bytes);
        return;
    }
    for (size_t at = 0; at < before; at++) {
        const size_t reads = (size_t)source(p, x, axis, (int64_t)at);
        memcpy(to + at * bytes, from + reads * bytes, bytes);
    }
    for (size_t at = before + inside; at < all; at++) {
        const size_t reads = (size_t)source(p, x, axis, (int64_t)at);
        memcpy(to + at * bytes, from + reads * bytes, bytes);
    }
}

static void pad_row(const ei_pad_params *p, const ei_tensor_record *x, const ei_tensor_record *y,
                    ei_fill_fn fill, const uint8_t *from, uint8_t *to) {
    if (y->rank < 4) {
        pad_line(p, x, y, fill, from, to);
        return;
    }
    const uint32_t axis = y->rank - 2u;
    const uint32_t bytes = ei_dtype_bytes(y->dtype);
    const size_t x_width = (size_t)x->dims[axis + 1];
    const size_t y_width = (size_t)y->dims[axis + 1];
    const int32_t before = befores(p)[axis];
    for (int32_t line = 0; line < y->dims[axis]; line++) {
        uint8_t *line_to = to + (size_t)line * y_width * bytes;
        const int64_t reads = source(p, x, axis, line);
        if (reads < 0) {
            fill(line_to, y_width, p->value, bytes);
        } else if (line == before && x_width == y_width) { // all lines of x at once
            memcpy(line_to, from, (size_t)x->dims[axis] * x_width * bytes);
            line += x->dims[axis] - 1;
        } else {
            pad_line(p, x, y, fill, from + (size_t)reads * x_width * bytes, line_to);
        }
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_pad_params *p = node->params;
    const ei_tensor_record *x_tensor = ei_input_view(node, 0)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const ei_fill_fn fill = context->kernels->fill;
    const uint32_t bytes = ei_dtype_bytes(y_tensor->dtype);
    for (uint32_t r = begin; r < end; r++) {
        const int64_t from = source_row(p, x_tensor, y_tensor, r);
        if (from < 0) {
            fill(ei_row(&y, r), y.row_bytes / bytes, p->value, bytes);
        } else {
            pad_row(p, x_tensor, y_tensor, fill, ei_row(&x, (uint32_t)from), ei_row(&y, r));
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
