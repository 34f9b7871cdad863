#include "ops/check.h"
#include "ops/reduced.h"
#include "ops/row_runs.h"

static ei_status check(const ei_node *node) {
    const ei_argmax_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x",
                          EI_DTYPES_S8_S16 | EI_DTYPE_BIT(EI_UINT8) | EI_DTYPE_BIT(EI_INT32) |
                              EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPE_BIT(EI_INT32) | EI_DTYPE_BIT(EI_INT64)));
    EI_TRY(ei_check_rank(x, "x", 1, EI_MAX_RANK));
    EI_TRY(ei_check_int(p->axis, "axis", 0, x->rank - 1));
    EI_TRY(ei_reduced_check(x, y, 1u << p->axis));
    EI_TRY(ei_check_int(p->select_last, "select_last", 0, 1));
    return ei_check_int(p->minimum, "minimum", 0, 1);
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_argmax_params *p = node->params;
    if (ei_reduced_in_row(ei_node_input(node, i), ei_node_output(node, 0), 1u << p->axis)) {
        return (ei_row_range){begin, end};
    }
    return ei_input_rows_all(node, i);
}

static ei_argmax_fn kernel_for(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->argmax_s8;
    case EI_UINT8: return kernels->argmax_u8;
    case EI_INT16: return kernels->argmax_s16;
    case EI_INT32: return kernels->argmax_s32;
    default: return kernels->argmax_f32;
    }
}

/// Elements [first, last) of the dense result, from the dense array [..., args->size, inner] at x.
static void search(ei_argmax_fn kernel, size_t inner, size_t element_bytes, const uint8_t *x,
                   uint8_t *y, size_t first, size_t last, ei_argmax_args *args) {
    args->step = inner == 1 ? args->size : 1;
    args->stride = inner;
    for (size_t at = first; at < last; at += args->count) {
        const size_t column = at % inner;
        args->x = x + (at / inner * args->size * inner + column) * element_bytes;
        args->y = y + (at - first) * args->y_bytes;
        args->count = last - at;
        if (inner != 1 && inner - column < args->count) {
            args->count = inner - column;
        }
        kernel(args);
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_argmax_params *p = node->params;
    const ei_tensor_record *x_tensor = ei_input_view(node, 0)->tensor;
    const ei_tensor_record *y_tensor = ei_output_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint32_t axis = (uint32_t)p->axis;
    const size_t inner = ei_tensor_inner(x_tensor, axis + 1);
    const size_t element_bytes = ei_dtype_bytes(x_tensor->dtype);
    const ei_argmax_fn kernel = kernel_for(context->kernels, x_tensor->dtype);
    ei_argmax_args args = {
        .size = (size_t)x_tensor->dims[axis],
        .y_bytes = ei_dtype_bytes(y_tensor->dtype),
        .minimum = p->minimum,
        .select_last = p->select_last,
    };
    const size_t width = y.row_bytes / args.y_bytes;
    if (ei_reduced_in_row(x_tensor, y_tensor, 1u << axis)) {
        for (uint32_t r = begin; r < end; r++) {
            search(kernel, inner, element_bytes, ei_row(&x, r), ei_row(&y, r), 0, width, &args);
        }
        return EI_OK;
    }
    for (uint32_t r = begin, next; r < end; r = next) {
        next = ei_row_run_end(&y, &y, r, end);
        search(kernel, inner, element_bytes, x.base, ei_row(&y, r), r * width, next * width, &args);
    }
    return EI_OK;
}

const ei_op ei_op_argmax = {
    .name = "argmax",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
