#include <string.h>

#include "ops/row_index.h"
#include "ops/row_runs.h"

enum { X, INDICES };

static ei_status check(const ei_node *node) {
    const ei_gather_elements_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *indices = ei_node_input(node, INDICES);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_ANY));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_dtype(indices, "indices", EI_DTYPE_BIT(EI_INT32) | EI_DTYPE_BIT(EI_INT64)));
    EI_TRY(ei_check_rank(indices, "indices", x->rank, x->rank));
    for (uint32_t axis = 0; axis + 1 < x->rank; axis++) {
        EI_TRY(ei_check_dim(indices, "indices", axis, x->dims[axis]));
    }
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_shape(y, "y", indices, "indices"));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_tensor_record *tensor = ei_input_view(node, X)->tensor;
    const ei_tensor_record *index_tensor = ei_input_view(node, INDICES)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, X));
    const ei_rows indices = ei_view_rows(ei_input_view(node, INDICES));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const int64_t size = tensor->dims[tensor->rank - 1];
    const size_t bytes = ei_dtype_bytes(tensor->dtype);
    const size_t k = (size_t)index_tensor->dims[tensor->rank - 1];
    for (uint32_t r = begin; r < end; r++) {
        uint8_t *to = ei_row(&y, r);
        for (size_t i = 0; i < y.row_bytes / bytes; i++, to += bytes) {
            int64_t index = ei_read_index(ei_row(&indices, r), index_tensor->dtype, i);
            if (index < -size || index >= size) {
                return ei_fail(EI_ERROR_DATA,
                               "indices: row %" PRIu32 " has %" PRId64 ", must be from %" PRId64
                               " to %" PRId64,
                               r, index, -size, size - 1);
            }
            index += index < 0 ? size : 0;
            const size_t from = i / k * (size_t)size + (size_t)index;
            memcpy(to, ei_row(&x, r) + from * bytes, bytes);
        }
    }
    return EI_OK;
}

const ei_op ei_op_gather_elements = {
    .name = "gather_elements",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .one_thread = 1,
};
