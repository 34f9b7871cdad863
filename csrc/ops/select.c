#include "ops/check.h"
#include "ops/lines.h"

enum { CONDITION, A, B };

static ei_status check(const ei_node *node) {
    static const char *const names[] = {"condition", "a", "b"};
    const ei_select_params *p = node->params;
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(ei_node_input(node, CONDITION), "condition", EI_DTYPE_BIT(EI_BOOL)));
    EI_TRY(ei_check_same_dtype(ei_node_input(node, A), "a", y, "y"));
    EI_TRY(ei_check_same_dtype(ei_node_input(node, B), "b", y, "y"));
    EI_TRY(ei_lines_check(node, names));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    ei_lines lines;
    ei_plain_line line;
    ei_lines_begin(&lines, node, begin, end);
    while (ei_lines_next(&lines, &line)) {
        const ei_plain_line turned = {
            .a = line.b,
            .b = line.c,
            .c = line.a,
            .y = line.y,
            .count = line.count,
            .a_step = line.b_step,
            .b_step = line.c_step,
            .c_step = line.a_step,
        };
        ei_select_elements(&turned, ei_dtype_bytes(ei_output_view(node, 0)->tensor->dtype));
    }
    return EI_OK;
}

const ei_op ei_op_select = {
    .name = "select",
    .check = check,
    .input_rows = ei_broadcast_input_rows,
    .run = run,
};
