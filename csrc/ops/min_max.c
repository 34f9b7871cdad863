#include "ops/min_max.h"

#include "ops/broadcast.h"
#include "ops/check.h"

ei_status ei_min_max_check(const ei_node *node, int32_t reserved) {
    EI_TRY(ei_check_dtype(ei_node_output(node, 0), "y",
                          EI_DTYPES_S8_S16 | EI_DTYPE_BIT(EI_UINT8) | EI_DTYPE_BIT(EI_INT32)));
    EI_TRY(ei_broadcast_check(node));
    return ei_check_int(reserved, "reserved", 0, 0);
}

void ei_min_max_run(const ei_bound_node *node, ei_min_max_fn kernel, uint32_t begin, uint32_t end) {
    ei_broadcast walk;
    ei_binary_run part;
    ei_broadcast_begin(&walk, node, begin, end);
    while (ei_broadcast_next(&walk, &part)) {
        kernel(&part);
    }
}
