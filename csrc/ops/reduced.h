/// What operators that fold some axes away share: reduce_sum and argmax.
#ifndef EI_OPS_REDUCED_H
#define EI_OPS_REDUCED_H

#include "ops/op.h"

/// Checks that y has the shape of x with the axes of the mask (bit i: axis i, all of them axes of x)
/// 1 or dropped, and that x is whole unless ei_reduced_in_row().
ei_status ei_reduced_check(const ei_tensor_record *x, const ei_tensor_record *y, uint32_t axes);

/// Whether row r of y comes from row r of x alone.
int ei_reduced_in_row(const ei_tensor_record *x, const ei_tensor_record *y, uint32_t axes);

#endif
