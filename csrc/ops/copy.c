#include <string.h>

#include "ops/check.h"

static ei_status check(const ei_node *node) {
    const ei_copy_params *p = node->params;
    const ei_tensor_record *x = ei_node_input(node, 0);
    const ei_tensor_record *y = ei_node_output(node, 0);
    EI_TRY(ei_check_same_dtype(y, "y", x, "x"));
    EI_TRY(ei_check_same_elements(y, "y", x, "x"));
    return ei_check_int(p->reserved, "reserved", 0, 0);
}

/// Row r of y is bytes [r * row_bytes, ...) of the dense array, which x's rows divide elsewhere.
static ei_row_range input_rows(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end) {
    const uint64_t x_bytes = ei_node_input(node, i)->row_bytes;
    const uint64_t y_bytes = ei_node_output(node, 0)->row_bytes;
    return (ei_row_range){(uint32_t)(begin * y_bytes / x_bytes),
                          (uint32_t)((end * y_bytes + x_bytes - 1) / x_bytes)};
}

/// Where a byte of the dense array lies, and how many bytes from there on lie behind one another.
static uint8_t *find(const ei_rows *rows, uint64_t byte, uint64_t *together) {
    const uint32_t row = (uint32_t)(byte / rows->row_bytes);
    const uint64_t offset = byte % rows->row_bytes;
    *together = (uint64_t)(rows->ring - row % rows->ring) * rows->row_bytes - offset;
    return ei_row(rows, row) + offset;
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)context;
    const ei_rows x = ei_view_rows(ei_input_view(node, 0));
    const ei_rows y = ei_view_rows(ei_output_view(node, 0));
    const uint64_t last = (uint64_t)end * y.row_bytes;
    uint64_t count = 0;
    for (uint64_t byte = (uint64_t)begin * y.row_bytes; byte < last; byte += count) {
        uint64_t x_together;
        uint64_t y_together;
        const uint8_t *from = find(&x, byte, &x_together);
        uint8_t *to = find(&y, byte, &y_together);
        count = last - byte;
        count = x_together < count ? x_together : count;
        count = y_together < count ? y_together : count;
        if (from != to) { // in place it is there already
            memmove(to, from, (size_t)count);
        }
    }
    return EI_OK;
}

const ei_op ei_op_copy = {
    .name = "copy",
    .check = check,
    .input_rows = input_rows,
    .run = run,
    .one_thread = 1,
    .in_place = 1,
};
