#include "ops/check.h"
#include "ops/row_runs.h"

enum { NAN_CLASS = 1, INFINITY_CLASS = 2, MINUS_INFINITY_CLASS = 4 };

static ei_status check(const ei_node *node) {
    const ei_classify_f32_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_FLOAT32)));
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPE_BIT(EI_BOOL)));
    EI_TRY(ei_check_same_shape(y, "y", x, "x"));
    return ei_check_int(p->classes, "classes", 0,
                        NAN_CLASS | INFINITY_CLASS | MINUS_INFINITY_CLASS);
}

static int class_of(uint32_t bits) {
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return NAN_CLASS;
    }
    return bits == 0x7f800000u ? INFINITY_CLASS : (bits == 0xff800000u ? MINUS_INFINITY_CLASS : 0);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_classify_f32_params *p = node->params;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    for (uint32_t r = begin; r < end; r++) {
        const uint32_t *from = (const uint32_t *)ei_row(&x, r);
        uint8_t *to = ei_row(&y, r);
        for (size_t i = 0; i < y.row_bytes; i++) {
            to[i] = (class_of(from[i]) & p->classes) != 0;
        }
    }
    return EI_OK;
}

const ei_op ei_op_classify_f32 = {
    .name = "classify_f32",
    .check = check,
    .input_rows = ei_input_rows_same,
    .run = run,
};
