#include "kernels/move/run.h"
#include "ops/row_index.h"
#include "ops/row_runs.h"

enum { X, INDICES };

static ei_status check(const ei_node *node) {
    const ei_gather_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, X);
    const ei_tensor_record *indices = ei_node_input(node, INDICES);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_dtype(indices, "indices", EI_DTYPE_BIT(EI_INT32) | EI_DTYPE_BIT(EI_INT64)));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_int(p->axis, "axis", 0, x->rank - 1));
    const uint32_t axis = (uint32_t)p->axis;
    const uint32_t rank = x->rank - 1u + indices->rank;
    EI_TRY(ei_check_rank(y, "y", rank, rank));
    for (uint32_t i = 0; i < rank; i++) {
        const int32_t dim = i < axis                   ? x->dims[i]
                            : i < axis + indices->rank ? indices->dims[i - axis]
                                                       : x->dims[i + 1 - indices->rank];
        EI_TRY(ei_check_dim(y, "y", i, dim));
    }
    EI_TRY(ei_check_whole(x, "x"));
    EI_TRY(ei_check_whole(indices, "indices"));
    return ei_check_indices(node, indices, x->dims[axis]);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_gather_params *p = node->params;
    const ei_view *x = ei_input_view(node, X);
    const ei_view *indices = ei_input_view(node, INDICES);
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t axis = (uint32_t)p->axis;
    const int64_t size = x->tensor->dims[axis];
    const size_t count = ei_tensor_elements(indices->tensor);
    // y is [outer][count] pieces of so many bytes, x [outer][size] of them.
    const size_t piece =
        (size_t)ei_tensor_inner(x->tensor, axis + 1) * ei_dtype_bytes(x->tensor->dtype);
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&y, &y, r, end);
        const size_t first = (size_t)r * y.row_bytes;
        const size_t last = (size_t)next * y.row_bytes;
        uint8_t *to = ei_row(&y, r);
        size_t outer = first / piece / count;
        size_t entry = first / piece % count;
        size_t skip = first % piece; // a row may begin within a piece
        for (size_t at = first; at < last;) {
            int64_t index = ei_read_index(indices->base, indices->tensor->dtype, entry);
            if (index < -size || index >= size) {
                return ei_fail_index(EI_ERROR_DATA, entry, index, size);
            }
            index = index < 0 ? index + size : index;
            const size_t left = last - at;
            const size_t bytes = piece - skip < left ? piece - skip : left;
            ei_copy_run(to, x->base + (outer * (size_t)size + (size_t)index) * piece + skip, bytes);
            to += bytes;
            at += bytes;
            skip = 0;
            if (++entry == count) {
                entry = 0;
                outer++;
            }
        }
    }
    return EI_OK;
}

const ei_op ei_op_gather = {
    .name = "gather",
    .check = check,
    .run = run,
    .one_thread = 1,
};
