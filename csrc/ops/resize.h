/// What the operators resize_nearest and resize_bilinear share: index tables, constants that say for
/// each row and column of y which of x it reads.
#ifndef EI_OPS_RESIZE_H
#define EI_OPS_RESIZE_H

#include "ops/op.h"

/// x and y of rank 4 and one dtype, with equal N and C.
ei_status ei_check_resize(const ei_tensor_record *x, const ei_tensor_record *y);

/// Input i is a constant int32 table of `entries` entries, each a position below `size`; or, with
/// `largest_weight` above zero, two ascending positions and a weight up to that. Positions do not
/// descend from an entry to the next, so that a band's ends tell what it reads.
ei_status ei_check_resize_table(const ei_node *node, uint32_t i, const char *what, int32_t entries,
                                int32_t size, int32_t largest_weight);

#endif
