#include "ops/check.h"
#include "ops/reduced.h"
#include "ops/row_boxes.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_reduce_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_int(p->axes, "axes", 0, (1 << x->rank) - 1));
    EI_TRY(ei_reduced_check(x, y, (uint32_t)p->axes));
    EI_TRY(ei_check_int(p->kind, "kind", 0, EI_REDUCE_F32_KINDS - 1));
    return ei_check_bounds(p->clamp_min, p->clamp_max);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_reduce_f32_params *p = node->params;
    if (ei_reduced_in_row(ei_node_input(node, i), ei_node_output(node, 0), (uint32_t)p->axes)) {
        return (ei_row_range){begin, end};
    }
    return ei_input_rows_all(node, i);
}

/// Elements [first, last) of the dense result, from the dense array at x.
static void reduce(ei_reduce_f32_fn kernel, const ei_folding *folding, const uint8_t *x, uint8_t *y,
                   size_t first, size_t last, ei_reduce_f32_args *args) {
    const size_t width = folding->kept[0];
    for (size_t at = first; at < last; at += args->count) {
        const size_t column = at % width;
        args->x = (const float *)x + ei_folding_offset(folding, at);
        args->y = (float *)y + (at - first);
        args->count = width - column < last - at ? width - column : last - at;
        kernel(args);
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_reduce_f32_params *p = node->params;
    const ei_tensor_record *tensor = ei_input_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t axes = (uint32_t)p->axes;
    const int in_row = ei_reduced_in_row(tensor, ei_output_view(node, 0)->tensor, axes);
    const ei_folding folding = ei_fold_axes(tensor, in_row ? ei_outer_axes(tensor) : 0, axes);
    const size_t width = y.row_bytes / sizeof(float);
    const ei_reduce_f32_fn kernel = context->kernels->reduce_f32;
    ei_reduce_f32_args args = {
        .step = folding.kept_strides[0],
        .terms = {folding.folded[2], folding.folded[1], folding.folded[0]},
        .strides = {folding.folded_strides[2], folding.folded_strides[1],
                    folding.folded_strides[0]},
        .kind = p->kind,
        .clamp_min = p->clamp_min,
        .clamp_max = p->clamp_max,
    };
    if (in_row) {
        for (uint32_t r = begin; r < end; r++) {
            reduce(kernel, &folding, ei_row(&x, r), ei_row(&y, r), 0, width, &args);
        }
        return EI_OK;
    }
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&y, &y, r, end);
        reduce(kernel, &folding, x.base, ei_row(&y, r), r * width, next * width, &args);
    }
    return EI_OK;
}

const ei_op ei_op_reduce_f32 = {
    .name = "reduce_f32",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
