#include "ops/broadcast.h"
#include "ops/min_max.h"

static ei_status check(const ei_node *node) {
    const ei_minimum_params *p = node->params;
    return ei_min_max_check(node, p->reserved);
}

static ei_min_max_fn kernel_for(const ei_kernels *kernels, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return kernels->minimum_s8;
    case EI_UINT8: return kernels->minimum_u8;
    case EI_INT16: return kernels->minimum_s16;
    default: return kernels->minimum_s32;
    }
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    const uint32_t dtype = ei_output_view(node, 0)->tensor->dtype;
    ei_min_max_run(node, kernel_for(context->kernels, dtype), begin, end);
    return EI_OK;
}

const ei_op ei_op_minimum = {
    .name = "minimum",
    .check = check,
    .input_rows = ei_broadcast_input_rows,
    .run = run,
    .in_place = 1,
};
