#include "ops/op.h"

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
