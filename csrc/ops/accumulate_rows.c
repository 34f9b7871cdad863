#include "ops/check.h"
#include "ops/convert.h"
#include "ops/row_runs.h"

/// The largest magnitude of an element.
static int64_t largest(uint32_t dtype) {
    return dtype == EI_INT8 ? 128 : dtype == EI_UINT8 ? 255 : 32768;
}

static ei_status check(const ei_node *node) {
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    const ei_accumulate_rows_params *p = node->params;
    EI_TRY(ei_check_activation(x, "x"));
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPES_QUANTIZE));
    EI_TRY(ei_check_rank(x, "x", 4, 4));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPE_BIT(EI_INT32)));
    EI_TRY(ei_check_rank(y, "y", 4, 4));
    EI_TRY(ei_check_dim(y, "y", 0, x->dims[0]));
    EI_TRY(ei_check_dim(y, "y", 1, x->dims[1]));
    EI_TRY(ei_check_dim(y, "y", 2, 1));
    EI_TRY(ei_check_dim(y, "y", 3, x->dims[3]));
    EI_TRY(ei_check_int((int64_t)x->dims[1] * x->dims[2], "pixels of an image", 1,
                        INT32_MAX / largest(x->dtype)));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

static ei_row_range own_rows(const ei_node *node, uint32_t begin) {
    const uint32_t height = (uint32_t)ei_node_output(node, 0)->dims[1];
    return begin % height == 0 ? (ei_row_range){begin, begin} : (ei_row_range){begin - 1, begin};
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_view *x = ei_input_view(node, 0);
    const ei_accumulate_rows_args args = {
        .x = ei_view_rows(x),
        .y = ei_view_rows(ei_output_view(node, 0)),
        .height = (uint32_t)x->tensor->dims[1],
        .width = (size_t)x->tensor->dims[2],
        .channels = (size_t)x->tensor->dims[3],
    };
    switch (x->tensor->dtype) {
    case EI_INT8: context->kernels->accumulate_rows_s8(&args, begin, end); break;
    case EI_UINT8: context->kernels->accumulate_rows_u8(&args, begin, end); break;
    default: context->kernels->accumulate_rows_s16(&args, begin, end);
    }
    return EI_OK;
}

const ei_op ei_op_accumulate_rows = {
    .name = "accumulate_rows",
    .check = check,
    .input_rows = ei_input_rows_same,
    .own_rows = own_rows,
    .run = run,
    .one_thread = 1, // each row goes on from the one before
};
