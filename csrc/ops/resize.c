#include "ops/resize.h"

#include "ops/check.h"

ei_status ei_check_resize(const ei_tensor_record *x, const ei_tensor_record *y) {
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_rank(x, "x", 4, 4));
    EI_TRY(ei_check_rank(y, "y", 4, 4));
    EI_TRY(ei_check_dim(y, "y", 0, x->dims[0]));
    return ei_check_dim(y, "y", 3, x->dims[3]);
}

ei_status ei_check_resize_table(const ei_node *node, uint32_t i, const char *what, int32_t entries,
                                int32_t size, int32_t largest_weight) {
    const ei_tensor_record *table = ei_node_input(node, i);
    const size_t stride = largest_weight > 0 ? 3 : 1;
    EI_TRY(ei_check_constant_elements(table, what, EI_INT32, (uint64_t)entries * stride));
    const int32_t *words = ei_node_constant(node, table);
    int32_t lowest[2] = {0, 0}; // of the first and of the second position
    for (size_t n = 0; n < (size_t)entries; n++) {
        const int32_t *entry = words + n * stride;
        EI_TRY(ei_check_int(entry[0], what, lowest[0], size - 1));
        lowest[0] = entry[0];
        if (largest_weight > 0) {
            const int32_t low = lowest[1] > entry[0] ? lowest[1] : entry[0];
            EI_TRY(ei_check_int(entry[1], what, low, size - 1));
            EI_TRY(ei_check_int(entry[2], what, 0, largest_weight));
            lowest[1] = entry[1];
        }
    }
    return EI_OK;
}
