/// Indices of rows that an operator looks up, from the data of a run.
#ifndef EI_OPS_ROW_INDEX_H
#define EI_OPS_ROW_INDEX_H

#include <inttypes.h>

#include "ops/check.h"

/// Reads once: in memory that a caller may write to at any time, what was checked must be what is
/// used.
static inline int64_t ei_read_index(const void *indices, uint32_t dtype, size_t i) {
    if (dtype == EI_INT32) {
        return ((const volatile int32_t *)indices)[i];
    }
    return ((const volatile int64_t *)indices)[i];
}

static inline ei_status ei_fail_index(ei_status status, size_t i, int64_t index, int64_t size) {
    return ei_fail(status,
                   "indices: entry %zu is %" PRId64 ", must be from %" PRId64 " to %" PRId64, i,
                   index, -size, size - 1);
}

/// Constant indices are known when a file is opened; others are checked as they are used.
static inline ei_status ei_check_indices(const ei_node *node, const ei_tensor_record *indices,
                                         int64_t size) {
    if (!ei_tensor_is_constant(indices)) {
        return EI_OK;
    }
    const void *values = ei_node_constant(node, indices);
    for (uint32_t i = 0; i < ei_tensor_elements(indices); i++) {
        const int64_t index = ei_read_index(values, indices->dtype, i);
        if (index < -size || index >= size) {
            return ei_fail_index(EI_ERROR_OPERATOR, i, index, size);
        }
    }
    return EI_OK;
}

#endif
