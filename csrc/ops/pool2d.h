/// What the operators avg_pool2d and max_pool2d share.
#ifndef EI_OPS_POOL2D_H
#define EI_OPS_POOL2D_H

#include "ops/op.h"

/// Checks shapes and geometry: x and y of rank 4, one dtype, with equal N and C; kernel, strides,
/// dilations and pads in range; in every window at least one tap inside the image. The window has
/// the dims of x and y.
ei_status ei_pool2d_check(const ei_window *window, const ei_tensor_record *x,
                          const ei_tensor_record *y);

#endif
