#include <stdio.h>

#include "ops/check.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

/// Of params: where each axis begins, and its strides.
static const int32_t *begins(const void *params) {
    return params;
}
static const int32_t *strides(const void *params) {
    return (const int32_t *)params + EI_MAX_RANK;
}

static ei_status check(const ei_node *node) {
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_rank(y, "y", x->rank, x->rank));
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        char what[32];
        const int64_t begin = begins(node->params)[axis];
        const int64_t stride = strides(node->params)[axis];
        snprintf(what, sizeof what, "begin_%u", (unsigned)axis);
        EI_TRY(ei_check_int(begin, what, 0, x->dims[axis] - 1));
        if (stride == 0) {
            return ei_fail(EI_ERROR_OPERATOR, "stride_%u: is 0, must not be", (unsigned)axis);
        }
        const int64_t last = begin + (y->dims[axis] - 1) * stride;
        snprintf(what, sizeof what, "last position on axis %u", (unsigned)axis);
        EI_TRY(ei_check_int(last, what, 0, x->dims[axis] - 1));
    }
    return EI_OK;
}

/// Position along an axis of x that position `at` along that axis of y reads.
static uint32_t source(const void *params, uint32_t axis, uint32_t at) {
    return (uint32_t)(begins(params)[axis] + (int64_t)at * strides(params)[axis]);
}

static ei_row_range axis_reads(const ei_node *node, uint32_t axis, uint32_t begin, uint32_t count) {
    const uint32_t a = source(node->params, axis, begin);
    const uint32_t b = source(node->params, axis, begin + count - 1);
    return a < b ? (ei_row_range){a, b + 1} : (ei_row_range){b, a + 1};
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    return ei_row_boxes_read(node, ei_node_input(node, i), ei_node_output(node, 0), axis_reads,
                             begin, end);
}

static uint32_t source_row(const void *params, const ei_tensor_record *x, const ei_tensor_record *y,
                           uint32_t r) {
    uint32_t row = 0;
    uint32_t unit = 1;
    for (uint32_t axis = ei_outer_axes(y); axis-- > 0;) {
        const uint32_t dim = (uint32_t)y->dims[axis];
        row += source(params, axis, r % dim) * unit;
        unit *= (uint32_t)x->dims[axis];
        r /= dim;
    }
    return row;
}

/// Up to rank 3, where rows are short: how many rows from r on, and from row `from` of x, lie at equal
/// distances in x and in y.
static uint32_t rows_together(const void *params, const ei_tensor_record *y_tensor,
                              const ei_rows *x, const ei_rows *y, uint32_t from, uint32_t r,
                              uint32_t end) {
    const uint32_t axis = y_tensor->rank - 2u;
    const uint32_t dim = (uint32_t)y_tensor->dims[axis];
    const uint32_t left = ei_row_run_end(y, y, r, end) - r;
    const uint32_t count = left < dim - r % dim ? left : dim - r % dim;
    const int64_t last = from + (int64_t)(count - 1) * strides(params)[axis];
    return from / x->ring == (uint32_t)last / x->ring ? count : 1;
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_tensor_record *x_tensor = ei_input_view(node, 0)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t rank = y_tensor->rank;
    ei_copy2d_args args = {
        .rows = 1,
        .columns = 1,
        .x_column_step = 1,
        .element_bytes = ei_dtype_bytes(y_tensor->dtype),
    };
    size_t first = 0; // element of x's row
    if (rank > 0) {
        args.columns = (size_t)y_tensor->dims[rank - 1];
        args.x_column_step = args.columns == 1 ? 1 : strides(node->params)[rank - 1];
        args.y_row_step = (ptrdiff_t)args.columns;
        first = source(node->params, rank - 1, 0);
    }
    if (rank >= 4) {
        const ptrdiff_t x_columns = x_tensor->dims[rank - 1];
        args.rows = (size_t)y_tensor->dims[rank - 2];
        args.x_row_step = args.rows == 1 ? 0 : strides(node->params)[rank - 2] * x_columns;
        first += source(node->params, rank - 2, 0) * (size_t)x_columns;
    }
    for (uint32_t r = begin, next; r < end; r = next) {
        const uint32_t from = source_row(node->params, x_tensor, y_tensor, r);
        next = r + 1;
        if (rank == 2 || rank == 3) {
            next = r + rows_together(node->params, y_tensor, &x, &y, from, r, end);
            args.rows = next - r;
            args.x_row_step = args.rows == 1 ? 0
                                             : (ptrdiff_t)strides(node->params)[rank - 2] *
                                                   x_tensor->dims[rank - 1];
        }
        args.x = ei_row(&x, from) + first * args.element_bytes;
        args.y = ei_row(&y, r);
        context->kernels->copy2d(&args);
    }
    return EI_OK;
}

const ei_op ei_op_slice = {
    .name = "slice",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
