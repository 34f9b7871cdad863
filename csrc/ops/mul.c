#include "ops/broadcast.h"
#include "ops/check.h"

static ei_status check(const ei_node *node) {
    const ei_mul_params *p = node->params;
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_S8_S16));
    EI_TRY(ei_broadcast_check(node));
    EI_TRY(ei_check_zero_point(p->a_zero_point, "a_zero_point", y->dtype));
    EI_TRY(ei_check_zero_point(p->b_zero_point, "b_zero_point", y->dtype));
    EI_TRY(ei_check_finite(p->multiplier, "multiplier"));
    EI_TRY(ei_check_zero_point(p->out_zero_point, "out_zero_point", y->dtype));
    return ei_check_clamp(p->clamp_min, p->clamp_max, y->dtype);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_mul_params *p = node->params;
    const int wide = ei_output_view(node, 0)->tensor->dtype == EI_INT16;
    const ei_mul_fn kernel = wide ? context->kernels->mul_s16 : context->kernels->mul_s8;
    const ei_mul_args args = {
        .a_zero_point = p->a_zero_point,
        .b_zero_point = p->b_zero_point,
        .multiplier = p->multiplier,
        .out = {p->out_zero_point, p->clamp_min, p->clamp_max},
    };
    ei_broadcast walk;
    ei_binary_run part;
    ei_broadcast_begin(&walk, node, begin, end);
    while (ei_broadcast_next(&walk, &part)) {
        kernel(&part, &args);
    }
    return EI_OK;
}

const ei_op ei_op_mul = {
    .name = "mul",
    .check = check,
    .input_rows = ei_broadcast_input_rows,
    .run = run,
    .in_place = 1,
};
