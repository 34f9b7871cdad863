#include "ops/check.h"
#include "ops/lines.h"

static ei_status check(const ei_node *node) {
    static const char *const names[] = {"a", "b"};
    const ei_binary_int_params *p = node->params;
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_dtype(y, "y", EI_DTYPES_INTEGER));
    EI_TRY(ei_check_same_dtype(ei_node_input(node, 0), "a", y, "y"));
    EI_TRY(ei_check_same_dtype(ei_node_input(node, 1), "b", y, "y"));
    EI_TRY(ei_lines_check(node, names));
    return ei_check_int(p->kind, "kind", 0, EI_BINARY_INT_KINDS - 1);
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_binary_int_params *p = node->params;
    ei_lines lines;
    ei_plain_line line;
    ei_lines_begin(&lines, node, begin, end);
    while (ei_lines_next(&lines, &line)) {
        line.dtype = ei_output_view(node, 0)->tensor->dtype;
        ei_binary_int_line(&line, p->kind);
    }
    return EI_OK;
}

const ei_op ei_op_binary_int = {
    .name = "binary_int",
    .check = check,
    .input_rows = ei_broadcast_input_rows,
    .run = run,
};
