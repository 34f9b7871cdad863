#include "kernels/plain.h"
#include "ops/check.h"
#include "ops/reduced.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

enum { SUM, MEAN, PRODUCT, LARGEST, SMALLEST, KINDS };

static ei_status check(const ei_node *node) {
    const ei_reduce_int_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_INTEGER));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_int(p->axes, "axes", 0, (1 << x->rank) - 1));
    EI_TRY(ei_reduced_check(x, y, (uint32_t)p->axes));
    return ei_check_int(p->kind, "kind", 0, KINDS - 1);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_reduce_int_params *p = node->params;
    if (ei_reduced_in_row(ei_node_input(node, i), ei_node_output(node, 0), (uint32_t)p->axes)) {
        return (ei_row_range){begin, end};
    }
    return ei_input_rows_all(node, i);
}

/// The result whose first element is element `at` of x.
static int64_t reduce(const uint8_t *x, size_t at, uint32_t dtype, const ei_folding *folding,
                      int32_t kind) {
    static const int32_t kinds[] = {EI_INT_ADD, EI_INT_ADD, EI_INT_MUL, EI_INT_MAXIMUM,
                                    EI_INT_MINIMUM};
    const size_t *terms = folding->folded;
    const size_t *strides = folding->folded_strides;
    int64_t y = ei_load_integer(x, at, dtype);
    for (size_t i = 0; i < terms[2]; i++) {
        for (size_t j = 0; j < terms[1]; j++) {
            for (size_t k = i + j == 0; k < terms[0]; k++) {
                const size_t offset = i * strides[2] + j * strides[1] + k * strides[0];
                y = ei_binary_int(kinds[kind], y, ei_load_integer(x, at + offset, dtype));
            }
        }
    }
    return kind == MEAN ? y / (int64_t)(terms[0] * terms[1] * terms[2]) : y;
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_reduce_int_params *p = node->params;
    const ei_tensor_record *tensor = ei_input_view(node, 0)->tensor;
    const uint32_t dtype = tensor->dtype;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t axes = (uint32_t)p->axes;
    const int in_row = ei_reduced_in_row(tensor, ei_output_view(node, 0)->tensor, axes);
    const ei_folding folding = ei_fold_axes(tensor, in_row ? ei_outer_axes(tensor) : 0, axes);
    const size_t width = y.row_bytes / ei_dtype_bytes(dtype);
    for (uint32_t r = begin; r < end; r++) {
        for (size_t i = 0; i < width; i++) {
            const size_t at = ei_folding_offset(&folding, (in_row ? 0 : r * width) + i);
            const uint8_t *from = in_row ? ei_row(&x, r) : x.base;
            ei_store_integer(ei_row(&y, r), i, dtype, reduce(from, at, dtype, &folding, p->kind));
        }
    }
    return EI_OK;
}

const ei_op ei_op_reduce_int = {
    .name = "reduce_int",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
