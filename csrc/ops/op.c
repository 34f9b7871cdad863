#include "ops/op.h"

#include "ops/check.h"

ei_work ei_work_of(const ei_bound_node *node) {
    if (node->op->work != NULL) {
        return node->op->work(node);
    }
    const ei_tensor_record *y = ei_output_view(node, 0)->tensor;
    uint64_t bytes = ei_tensor_bytes(y);
    for (uint32_t i = 0; i < node->input_count; i++) {
        const ei_tensor_record *x = ei_input_view(node, i)->tensor;
        bytes += x == NULL || ei_tensor_is_constant(x) ? 0 : ei_tensor_bytes(x);
    }
    return (ei_work){.row = bytes * EI_WORK_OF_A_BYTE / y->rows};
}

const ei_op *ei_op_find(uint16_t id) {
    switch (id) {
#define EI_OPERATOR(id, name, op, params, min_inputs, max_inputs, outputs, fields)                 \
    case id: return &op;
#include "ops/operators.def"
#undef EI_OPERATOR
    default: return NULL;
    }
}

const ei_op_shape *ei_op_shape_find(uint16_t id) {
    switch (id) {
#define EI_OPERATOR(id, name, op, params, min_inputs, max_inputs, outputs, fields)                 \
    case id: {                                                                                     \
        static const ei_op_shape shape = {sizeof(params), min_inputs, max_inputs, outputs};        \
        return &shape;                                                                             \
    }
#include "ops/operators.def"
#undef EI_OPERATOR
    default: return NULL;
    }
}
