#include "ops/broadcast.h"
#include "ops/check.h"

static int64_t bias_of(const ei_add_params *p) {
    return (int64_t)((uint64_t)(uint32_t)p->bias_high << 32 | (uint32_t)p->bias_low);
}

static uint64_t magnitude(int64_t value) {
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

static ei_status check(const ei_node *node) {
    const ei_add_params *p = node->params;
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_S8_S16));
    EI_TRY(ei_broadcast_check(node));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    EI_TRY(ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype));
    // No sum of the kernels overflows: int32 for int8, int64 for int16.
    const int64_t bias = bias_of(p);
    if (y->dtype == EI_INT8) {
        EI_TRY(ei_check_int(bias, "bias", INT32_MIN, INT32_MAX));
        const uint64_t largest =
            128 * (magnitude(p->a_multiplier) + magnitude(p->b_multiplier)) + magnitude(bias);
        EI_TRY(ei_check_int((int64_t)largest, "128 * (|a_multiplier| + |b_multiplier|) + |bias|", 0,
                            INT32_MAX));
        return ei_check_int(p->shift, "shift", 0, 30);
    }
    EI_TRY(ei_check_int(bias, "bias", -(INT64_C(1) << 62), INT64_C(1) << 62));
    return ei_check_int(p->shift, "shift", 0, 62);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_add_params *p = node->params;
    const int wide = ei_output_view(node, 0)->tensor->dtype == EI_INT16;
    const ei_add_fn kernel = wide ? context->kernels->add_s16 : context->kernels->add_s8;
    const ei_add_args args = {
        .a_multiplier = p->a_multiplier,
        .b_multiplier = p->b_multiplier,
        .bias = bias_of(p),
        .shift = (uint32_t)p->shift,
        .zero_point = p->out_zero_point,
        .clamp_min = p->clamp_min,
        .clamp_max = p->clamp_max,
    };
    ei_broadcast walk;
    ei_binary_run part;
    ei_broadcast_begin(&walk, node, begin, end);
    while (ei_broadcast_next(&walk, &part)) {
        kernel(&part, &args);
    }
    return EI_OK;
}

const ei_op ei_op_add = {
    .name = "add",
    .check = check,
    .input_rows = ei_broadcast_input_rows,
    .run = run,
    .in_place = 1,
};
