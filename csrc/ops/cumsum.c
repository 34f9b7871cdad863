#include "kernels/plain.h"
#include "ops/check.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_cumsum_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_ANY & ~EI_DTYPE_BIT(EI_BOOL)));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    EI_TRY(ei_check_int(p->exclusive, "exclusive", 0, 1));
    return ei_check_int(p->reverse, "reverse", 0, 1);
}

/// A NaN stays one, in the bits of arithmetic.
static float sum_of(float a, float b) {
    const float sum = a + b;
    return sum != sum ? __builtin_nanf("") : sum;
}

/// One line of `size` elements.
static void add_up(const uint8_t *x, uint8_t *y, size_t size, uint32_t dtype,
                   const ei_cumsum_params *p) {
    const float *floats = (const float *)x;
    float *sums = (float *)y;
    float sum = 0.0f;
    int64_t integer = 0;
    for (size_t n = 0; n < size; n++) {
        const size_t i = p->reverse ? size - 1 - n : n;
        if (dtype == EI_FLOAT32) {
            const float next = sum_of(sum, floats[i]);
            sums[i] = p->exclusive ? sum : next;
            sum = next;
        } else {
            const int64_t next = ei_binary_int(EI_INT_ADD, integer, ei_load_integer(x, i, dtype));
            ei_store_integer(y, i, dtype, p->exclusive ? integer : next);
            integer = next;
        }
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_tensor_record *tensor = ei_input_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const size_t size = (size_t)tensor->dims[tensor->rank - 1];
    const size_t bytes = size * ei_dtype_bytes(tensor->dtype);
    for (uint32_t r = begin; r < end; r++) {
        for (size_t at = 0; at < x.row_bytes; at += bytes) {
            add_up(ei_row(&x, r) + at, ei_row(&y, r) + at, size, tensor->dtype, node->params);
        }
    }
    return EI_OK;
}

const ei_op ei_op_cumsum = {
    .name = "cumsum",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
    .in_place = 1,
};
