/// What the operators maximum and minimum share.
#ifndef EI_OPS_MIN_MAX_H
#define EI_OPS_MIN_MAX_H

#include "ops/op.h"

ei_status ei_min_max_check(const ei_node *node, int32_t reserved);
/// Runs the kernel over rows [begin, end).
void ei_min_max_run(const ei_bound_node *node, ei_min_max_fn kernel, uint32_t begin, uint32_t end);

#endif
