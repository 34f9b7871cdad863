#include "ops/matmul.h"

#include "ops/check.h"
#include "ops/row_runs.h"

enum { A, B };

/// Index of the operand's matrix that matrix `batch` of y is made from: an axis of 1 is broadcast.
static uint32_t operand_batch(const ei_tensor_record *operand, const ei_tensor_record *y,
                              uint32_t batch) {
    uint32_t index = 0;
    uint32_t stride = 1;
    for (uint32_t axis = y->rank - 2u; axis-- > 0;) {
        const uint32_t size = (uint32_t)y->dims[axis];
        if (operand->dims[axis] != 1) {
            index += batch % size * stride;
            stride *= size;
        }
        batch /= size;
    }
    return index;
}

static int is_broadcast(const ei_tensor_record *operand, const ei_tensor_record *y) {
    for (uint32_t axis = 0; axis + 2 < y->rank; axis++) {
        if (operand->dims[axis] != y->dims[axis]) {
            return 1;
        }
    }
    return 0;
}

/// Rows of a tensor that make one of its matrices.
static uint32_t matrix_rows(const ei_tensor_record *tensor) {
    return tensor->rank >= 4 ? 1 : (uint32_t)tensor->dims[tensor->rank - 2];
}

static ei_status check_batch(const ei_tensor_record *operand, const char *what,
                             const ei_tensor_record *y) {
    for (uint32_t axis = 0; axis + 2 < y->rank; axis++) {
        if (operand->dims[axis] != 1) {
            EI_TRY(ei_check_dim(operand, what, axis, y->dims[axis]));
        }
    }
    return EI_OK;
}

ei_status ei_check_matmul(const ei_node *node, uint32_t dtypes, int32_t transpose_b) {
    const ei_tensor_record *a = ei_node_input(node, A);
    const ei_tensor_record *b = ei_node_input(node, B);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_rank(y, "y", 2, EI_MAX_RANK));
    EI_TRY(ei_check_rank(a, "a", y->rank, y->rank));
    EI_TRY(ei_check_rank(b, "b", y->rank, y->rank));
    EI_TRY(ei_check_dtype(a, "a", dtypes));
    EI_TRY(ei_check_same_dtype(b, "b", a, "a"));
    EI_TRY(ei_check_same_dtype(y, "y", a, "a"));
    EI_TRY(ei_check_int(transpose_b, "transpose_b", 0, 1));
    EI_TRY(check_batch(a, "a", y));
    EI_TRY(check_batch(b, "b", y));
    const uint32_t last = y->rank - 1u;
    EI_TRY(ei_check_dim(y, "y", last - 1, a->dims[last - 1]));
    EI_TRY(ei_check_dim(b, "b", transpose_b ? last : last - 1, a->dims[last]));
    EI_TRY(ei_check_dim(b, "b", transpose_b ? last - 1 : last, y->dims[last]));
    if (b->rank < 4) { // kernels want a matrix of b as one array; above, a row of the ring is one
        EI_TRY(ei_check_whole(b, "b"));
    }
    return EI_OK;
}

ei_row_range ei_matmul_input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_tensor_record *y = ei_node_output(node, 0);
    const ei_tensor_record *operand = ei_node_input(node, i);
    if (is_broadcast(operand, y)) {
        return ei_input_rows_all(node, i);
    }
    if (i == A) {
        return (ei_row_range){begin, end};
    }
    const uint32_t first_batch = begin / matrix_rows(y);
    const uint32_t last_batch = (end - 1) / matrix_rows(y);
    return (ei_row_range){first_batch * matrix_rows(operand),
                          (last_batch + 1) * matrix_rows(operand)};
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/// Rows from `row` on that lie one behind another.
static uint32_t contiguous_rows(const ei_rows *rows, uint32_t row) {
    return rows->ring - row % rows->ring;
}

ei_matmul_piece ei_matmul_piece_of(const ei_bound_node *node, uint32_t row, uint32_t end) {
    const ei_tensor_record *a = ei_input_view(node, A)->tensor;
    const ei_tensor_record *b = ei_input_view(node, B)->tensor;
    const ei_tensor_record *y = ei_output_view(node, 0)->tensor;
    const ei_rows a_rows = ei_view_rows(ei_input_view(node, A));
    const ei_rows b_rows = ei_view_rows(ei_input_view(node, B));
    const ei_rows y_rows = ei_view_rows(ei_output_view(node, 0));
    const uint32_t height = matrix_rows(y);
    const uint32_t lines = (uint32_t)y->dims[y->rank - 2] / height; // of the matrix, in a row
    const uint32_t batch = row / height;
    const uint32_t a_row = operand_batch(a, y, batch) * height + row % height;
    const uint32_t b_row = operand_batch(b, y, batch) * matrix_rows(b);
    const uint32_t count =
        least(least(end - row, height - row % height),
              least(contiguous_rows(&a_rows, a_row), contiguous_rows(&y_rows, row)));
    return (ei_matmul_piece){.a = ei_row(&a_rows, a_row),
                             .b = ei_row(&b_rows, b_row),
                             .y = ei_row(&y_rows, row),
                             .m = count * lines,
                             .k = (uint32_t)a->dims[a->rank - 1],
                             .n = (uint32_t)y->dims[y->rank - 1],
                             .rows = count};
}

uint64_t ei_matmul_row_products(const ei_bound_node *node) {
    const ei_tensor_record *a = ei_input_view(node, A)->tensor;
    const ei_tensor_record *y = ei_output_view(node, 0)->tensor;
    return ei_tensor_elements(y) / y->rows * (uint64_t)a->dims[a->rank - 1];
}
