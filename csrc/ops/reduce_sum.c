#include "ops/check.h"
#include "ops/convert.h"
#include "ops/reduced.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

// What the int32 sums of the 8-bit kernels hold.
#define EI_MAX_TERMS_8BIT (1 << 23)

static ei_status check(const ei_node *node) {
    const ei_reduce_sum_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_QUANTIZE));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_int(p->axes, "axes", 0, (1 << x->rank) - 1));
    EI_TRY(ei_reduced_check(x, y, (uint32_t)p->axes));
    if (x->dtype != EI_INT16) {
        EI_TRY(ei_check_int(ei_tensor_elements(x) / ei_tensor_elements(y), "elements in a sum", 1,
                            EI_MAX_TERMS_8BIT));
    }
    EI_TRY(ei_check_finite(p->multiplier, "multiplier"));
    EI_TRY(ei_check_finite(p->offset, "offset"));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_reduce_sum_params *p = node->params;
    if (ei_reduced_in_row(ei_node_input(node, i), ei_node_output(node, 0), (uint32_t)p->axes)) {
        return (ei_row_range){begin, end};
    }
    return ei_input_rows_all(node, i);
}

static ei_reduce_sum_fn kernel_for(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->reduce_sum_s8;
    case EI_UINT8: return kernels->reduce_sum_u8;
    default: return kernels->reduce_sum_s16;
    }
}

/// Elements [first, last) of the dense result, from the dense array at x.
static void reduce(ei_reduce_sum_fn kernel, const ei_folding *folding, size_t element_bytes,
                   const uint8_t *x, uint8_t *y, size_t first, size_t last,
                   ei_reduce_sum_args *args) {
    const size_t width = folding->kept[0];
    for (size_t at = first; at < last; at += args->count) {
        const size_t column = at % width;
        args->x = x + ei_folding_offset(folding, at) * element_bytes;
        args->y = y + (at - first) * element_bytes;
        args->count = width - column < last - at ? width - column : last - at;
        kernel(args);
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_reduce_sum_params *p = node->params;
    const ei_tensor_record *tensor = ei_input_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t axes = (uint32_t)p->axes;
    const int in_row = ei_reduced_in_row(tensor, ei_output_view(node, 0)->tensor, axes);
    const ei_folding folding = ei_fold_axes(tensor, in_row ? ei_outer_axes(tensor) : 0, axes);
    const size_t element_bytes = ei_dtype_bytes(tensor->dtype);
    const size_t width = y.row_bytes / element_bytes;
    const ei_reduce_sum_fn kernel = kernel_for(context->kernels, tensor->dtype);
    ei_reduce_sum_args args = {
        .step = folding.kept_strides[0],
        .terms = {folding.folded[2], folding.folded[1], folding.folded[0]},
        .strides = {folding.folded_strides[2], folding.folded_strides[1],
                    folding.folded_strides[0]},
        .multiplier = p->multiplier,
        .offset = p->offset,
        .out = {0, p->clamp_min, p->clamp_max},
    };
    if (in_row) {
        for (uint32_t r = begin; r < end; r++) {
            reduce(kernel, &folding, element_bytes, ei_row(&x, r), ei_row(&y, r), 0, width, &args);
        }
        return EI_OK;
    }
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&y, &y, r, end);
        reduce(kernel, &folding, element_bytes, x.base, ei_row(&y, r), r * width, next * width,
               &args);
    }
    return EI_OK;
}

const ei_op ei_op_reduce_sum = {
    .name = "reduce_sum",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
