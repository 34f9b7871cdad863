#include "kernels/rescale_sums/rescale_sums.h"

#include "ops/check.h"
#include "ops/convert.h"

static ei_status check(const ei_node *node) {
    const ei_rescale_sums_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_activation(x, "x"));
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_INT32)));
    EI_TRY(ei_check_rank(x, "x", 4, 4));
    EI_TRY(ei_check_dim(x, "x", 2, 1));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_QUANTIZE));
    EI_TRY(ei_check_rank(y, "y", y->rank == 2 ? 2 : 4, 4));
    EI_TRY(ei_check_dim(y, "y", 0, x->dims[0]));
    EI_TRY(ei_check_dim(y, "y", y->rank - 1u, x->dims[3]));
    if (y->rank == 4) {
        EI_TRY(ei_check_dim(y, "y", 1, 1));
        EI_TRY(ei_check_dim(y, "y", 2, 1));
    }
    EI_TRY(ei_check_int(p->kind, "kind", EI_RESCALE_SUM, EI_RESCALE_INTEGER_MEAN));
    EI_TRY(ei_check_int(p->divisor, "divisor", 1, INT32_MAX));
    EI_TRY(ei_check_finite(p->multiplier, "multiplier"));
    EI_TRY(ei_check_finite(p->offset, "offset"));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

/// The last row of image n of x.
static uint32_t last_row(const ei_tensor_record *x, uint32_t n) {
    return (n + 1) * (uint32_t)x->dims[1] - 1;
}

static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const ei_tensor_record *x = ei_node_input(node, i);
    return (ei_row_range){last_row(x, begin), last_row(x, end - 1) + 1};
}

static ei_rescale_sums_fn kernel_for(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->rescale_sums_s8;
    case EI_UINT8: return kernels->rescale_sums_u8;
    default: return kernels->rescale_sums_s16;
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_rescale_sums_params *p = node->params;
    const ei_view *output = ei_output_view(node, 0);
    const ei_tensor_record *tensor = ei_input_view(node, 0)->tensor;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(output);
    const ei_rescale_sums_fn kernel = kernel_for(context->kernels, output->tensor->dtype);
    ei_rescale_sums_args args = {
        .count = (size_t)tensor->dims[3],
        .kind = (ei_rescaling)p->kind,
        .divisor = p->divisor,
        .zero_sum = p->zero_sum,
        .multiplier = p->multiplier,
        .offset = p->offset,
        .requant = {p->out_zero_point, p->clamp_min, p->clamp_max},
    };
    for (uint32_t n = begin; n < end; n++) {
        args.x = (const int32_t *)ei_row(&x, last_row(tensor, n));
        args.y = ei_row(&y, n);
        kernel(&args);
    }
    return EI_OK;
}

const ei_op ei_op_rescale_sums = {
    .name = "rescale_sums",
    .check = check,
    .input_rows = input_rows,
    .run = run,
};
