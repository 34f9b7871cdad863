#include "kernels/math_f64.h"
#include "ops/broadcast.h"
#include "ops/check.h"

static ei_status check(const ei_node *node) {
    const ei_binary_f32_params *p = node->params;
    EI_TRY(ei_check_dtype(ei_node_output(node, 0), "y", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_broadcast_check(node));
    EI_TRY(ei_check_int(p->kind, "kind", 0, EI_BINARY_F32_KINDS - 1));
    return ei_check_bounds(p->clamp_min, p->clamp_max);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const ei_binary_f32_params *p = node->params;
    const ei_binary_f32_args args = {p->kind, p->clamp_min, p->clamp_max};
    const ei_binary_f32_fn kernel =
        p->kind < EI_F32_POW ? context->kernels->binary_f32 : ei_binary_f64;
    ei_broadcast walk;
    ei_binary_run part;
    ei_broadcast_begin(&walk, node, begin, end);
    while (ei_broadcast_next(&walk, &part)) {
        kernel(&part, &args);
    }
    return EI_OK;
}

const ei_op ei_op_binary_f32 = {
    .name = "binary_f32",
    .check = check,
    .input_rows = ei_broadcast_input_rows,
    .run = run,
    .in_place = 1,
};
