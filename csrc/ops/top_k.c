#include "kernels/plain.h"
#include "ops/check.h"
#include "ops/row_runs.h"

// The indices are a heap while they are found, its root the worst of them, and then sorted in place.

static ei_status check(const ei_node *node) {
    const ei_top_k_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_ANY));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPE_BIT(EI_INT64)));
    EI_TRY(ei_check_rank(y, "y", x->rank, x->rank));
    const uint32_t last = x->rank - 1u;
    for (uint32_t axis = 0; axis < last; axis++) {
        EI_TRY(ei_check_dim(y, "y", axis, x->dims[axis]));
    }
    EI_TRY(ei_check_int(y->dims[last], "elements of y's last axis", 1, x->dims[last]));
    return ei_check_int(p->smallest, "smallest", 0, 1);
}

typedef struct ei_line_order {
    const uint8_t *x;
    uint32_t dtype;
    int smallest;
} ei_line_order;

/// Whether element i stands behind element j.
static int is_worse(const ei_line_order *order, int64_t i, int64_t j) {
    const int64_t a = ei_load_key(order->x, (size_t)i, order->dtype);
    const int64_t b = ei_load_key(order->x, (size_t)j, order->dtype);
    if (a == b) {
        return i > j;
    }
    return order->smallest ? a > b : a < b;
}

/// heap[at] sinks to its place among [0, count).
static void sink(const ei_line_order *order, int64_t *heap, size_t count, size_t at) {
    const int64_t moved = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && is_worse(order, heap[child + 1], heap[child])) {
            child++;
        }
        if (!is_worse(order, heap[child], moved)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void find(const ei_line_order *order, size_t size, int64_t *heap, size_t k) {
    for (size_t i = 0; i < k; i++) {
        heap[i] = (int64_t)i;
    }
    for (size_t i = k / 2; i-- > 0;) {
        sink(order, heap, k, i);
    }
    for (size_t i = k; i < size; i++) {
        if (is_worse(order, heap[0], (int64_t)i)) {
            heap[0] = (int64_t)i;
            sink(order, heap, k, 0);
        }
    }
    for (size_t count = k; count-- > 1;) {
        const int64_t worst = heap[0];
        heap[0] = heap[count];
        heap[count] = worst;
        sink(order, heap, count, 0);
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_top_k_params *p = node->params;
    const ei_tensor_record *tensor = ei_input_view(node, 0)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const size_t size = (size_t)tensor->dims[tensor->rank - 1];
    const size_t bytes = size * ei_dtype_bytes(tensor->dtype);
    const size_t k = (size_t)y_tensor->dims[tensor->rank - 1];
    for (uint32_t r = begin; r < end; r++) {
        int64_t *found = (int64_t *)ei_row(&y, r);
        for (size_t at = 0; at < x.row_bytes; at += bytes, found += k) {
            const ei_line_order order = {ei_row(&x, r) + at, tensor->dtype, p->smallest};
            find(&order, size, found, k);
        }
    }
    return EI_OK;
}

const ei_op ei_op_top_k = {
    .name = "top_k",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
};
