#include <string.h>

#include "ops/check.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_concat_params *p = node->params;
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_rank(y, "y", 1, EI_MAX_RANK));
    EI_TRY(ei_check_int(p->axis, "axis", 0, y->rank - 1));
    const uint32_t concat_axis = (uint32_t)p->axis;
    int64_t total = 0;
    for (uint32_t i = 0; i < node->record->input_count; i++) {
        const ei_tensor_record *x = ei_node_input(node, i);
        EI_TRY(ei_check_same_dtype(x, "x", y, "y"));
        EI_TRY(ei_check_rank(x, "x", y->rank, y->rank));
        for (uint32_t axis = 0; axis < y->rank; axis++) {
            if (axis != concat_axis) {
                EI_TRY(ei_check_dim(x, "x", axis, y->dims[axis]));
            }
        }
        total += x->dims[concat_axis];
    }
    return ei_check_dim(y, "y", concat_axis, total);
}

/// Where one input's rows go when they are joined along an axis that rows count through. y's rows
/// come in blocks; in each block this input has `rows` of them, from row `first` on.
typedef struct ei_share {
    uint32_t block, first, rows;
} ei_share;

/// Rows of the input among the rows of y before row r.
static uint32_t rows_before(const ei_share *share, uint32_t r) {
    const uint32_t within = r % share->block;
    const uint32_t past = within < share->first ? 0 : within - share->first;
    return r / share->block * share->rows + (past < share->rows ? past : share->rows);
}

/// Rows that one position along the axis takes.
static uint32_t rows_per_position(const ei_tensor_record *y, uint32_t concat_axis) {
    uint32_t rows = 1;
    for (uint32_t axis = concat_axis + 1; axis < ei_outer_axes(y); axis++) {
        rows *= (uint32_t)y->dims[axis];
    }
    return rows;
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_concat_params *p = node->params;
    const ei_tensor_record *y = ei_node_output(node, 0);
    const uint32_t axis = (uint32_t)p->axis;
    if (axis >= ei_outer_axes(y)) {
        return (ei_row_range){begin, end};
    }
    const uint32_t unit = rows_per_position(y, axis);
    ei_share share = {.block = (uint32_t)y->dims[axis] * unit};
    for (uint32_t other = 0; other < i; other++) {
        share.first += (uint32_t)ei_node_input(node, other)->dims[axis] * unit;
    }
    share.rows = (uint32_t)ei_node_input(node, i)->dims[axis] * unit;
    return (ei_row_range){rows_before(&share, begin), rows_before(&share, end)};
}

/// Joins rows end to end, each input after the one before.
static void join_along_rows(const ei_bound_node *node, uint32_t axis, uint32_t begin,
                            uint32_t end) {
    const ei_tensor_record *tensor = ei_output_view(node, 0)->tensor;
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t unit = rows_per_position(tensor, axis);
    ei_share share = {.block = (uint32_t)tensor->dims[axis] * unit};
    for (uint32_t i = 0; i < node->input_count; i++, share.first += share.rows) {
        const ei_view *view = ei_input_view(node, i);
        const ei_rows x = ei_view_rows(view);
        share.rows = (uint32_t)view->tensor->dims[axis] * unit;
        const uint32_t last = rows_before(&share, end);
        for (uint32_t r = rows_before(&share, begin), next; r < last; r = next) {
            // As many rows as lie behind one another: to the end of a block, or of a ring.
            const uint32_t block = r / share.rows;
            const uint32_t to = block * share.block + share.first + r % share.rows;
            next = (block + 1) * share.rows < last ? (block + 1) * share.rows : last;
            next = ei_row_run_end(&x, &x, r, next);
            next = r + ei_row_run_end(&y, &y, to, to + (next - r)) - to;
            memcpy(ei_row(&y, to), ei_row(&x, r), (size_t)(next - r) * y.row_bytes);
        }
    }
}

// Rows are joined in so many bytes of y at a time: all inputs write to them while they are in L1.
#define EI_JOIN_BYTES 16384

/// Joins within rows: each input gives every line of a row a piece.
static void join_in_rows(const ei_bound_node *node, ei_copy2d_fn copy, uint32_t lines,
                         uint32_t begin, uint32_t end) {
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t most = y.row_bytes < EI_JOIN_BYTES ? EI_JOIN_BYTES / y.row_bytes : 1;
    for (uint32_t first = begin, last; first < end; first = last) {
        last = end - first < most ? end : first + most;
        size_t before = 0; // bytes of a line of y
        for (uint32_t i = 0; i < node->input_count; i++) {
            const ei_rows x = ei_view_rows(ei_input_view(node, i));
            const size_t piece = x.row_bytes / lines;
            for (uint32_t r = first, next; r < last; r = next) {
                next = ei_row_run_end(&x, &y, r, last);
                const ei_copy2d_args args = {
                    .x = ei_row(&x, r),
                    .y = ei_row(&y, r) + before,
                    .rows = (size_t)(next - r) * lines,
                    .columns = piece,
                    .x_row_step = (ptrdiff_t)piece,
                    .x_column_step = 1,
                    .y_row_step = (ptrdiff_t)(y.row_bytes / lines),
                    .element_bytes = 1,
                };
                copy(&args);
            }
            before += piece;
        }
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_concat_params *p = node->params;
    const ei_tensor_record *y = ei_output_view(node, 0)->tensor;
    const uint32_t axis = (uint32_t)p->axis;
    const uint32_t outer = ei_outer_axes(y);
    if (axis < outer) {
        join_along_rows(node, axis, begin, end);
        return EI_OK;
    }
    uint32_t lines = 1;
    for (uint32_t inside = outer; inside < axis; inside++) {
        lines *= (uint32_t)y->dims[inside];
    }
    join_in_rows(node, context->kernels->copy2d, lines, begin, end);
    return EI_OK;
}

const ei_op ei_op_concat = {
    .name = "concat",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
