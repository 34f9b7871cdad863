#include "kernels/embedding_f32_f4/embedding_f32_f4.h"
#include "ops/packed.h"
#include "ops/row_index.h"

enum { TABLE, INDICES, MULTIPLIER };

static ei_status check(const ei_node *node) {
    const ei_embedding_params *p = node->params;
    const ei_tensor_record *table = ei_node_input(node, TABLE);
    const ei_tensor_record *indices = ei_node_input(node, INDICES);
    const ei_tensor_record *multiplier = ei_node_input(node, MULTIPLIER);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_constant(table, "table"));
    EI_TRY(ei_check_dtype(indices, "indices", EI_DTYPE_BIT(EI_INT32) | EI_DTYPE_BIT(EI_INT64)));
    EI_TRY(ei_check_whole(indices, "indices"));
    EI_TRY(ei_check_int(p->rows, "rows", 1, INT32_MAX));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_rank(y, "y", indices->rank + 1u, indices->rank + 1u));
    for (uint32_t i = 0; i < indices->rank; i++) {
        EI_TRY(ei_check_dim(y, "y", i, indices->dims[i]));
    }
    const ei_packed_shape packed = {
        .groups = 1, .channels = p->rows, .segments = 1, .length = y->dims[indices->rank]};
    EI_TRY(ei_check_packed_f4_values(node, table, "table", multiplier, &packed));
    return ei_check_indices(node, indices, p->rows);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_embedding_params *p = node->params;
    const ei_view *table = ei_input_view(node, TABLE);
    const ei_view *indices = ei_input_view(node, INDICES);
    const float *multiplier = (const float *)ei_input_view(node, MULTIPLIER)->base;
    const ei_tensor_record *tensor = ei_output_view(node, 0)->tensor;
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const ei_f4_scheme scheme = ei_weights_scheme(table->tensor);
    const size_t k = (size_t)tensor->dims[tensor->rank - 1];
    // From rank 4 on a row of y is a matrix: several vectors of the table.
    const size_t vectors = y.row_bytes / (k * sizeof(float));
    for (uint32_t r = begin; r < end; r++) {
        float *to = (float *)ei_row(&y, r);
        for (size_t i = 0; i < vectors; i++, to += k) {
            const size_t entry = (size_t)r * vectors + i;
            int64_t index = ei_read_index(indices->base, indices->tensor->dtype, entry);
            if (index < -(int64_t)p->rows || index >= p->rows) {
                return ei_fail_index(EI_ERROR_DATA, entry, index, p->rows);
            }
            index += index < 0 ? p->rows : 0;
            ei_embedding_f32_f4_scalar(to, k, table->base, (size_t)index, multiplier[index],
                                       scheme);
        }
    }
    return EI_OK;
}

const ei_op ei_op_embedding = {
    .name = "embedding",
    .check = check,
    .run = run,
    .one_thread = 1,
};
