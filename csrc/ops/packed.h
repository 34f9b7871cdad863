/// Check of constant operands in the packed layout (docs/internals/kernels.md).
#ifndef EI_OPS_PACKED_H
#define EI_OPS_PACKED_H

#include "kernels/packed_tile.h"
#include "ops/op.h"

/// A packed matrix: per group, `channels` output channels (rounded up to 16) by `segments` runs of
/// `length` values (each rounded up to 4).
typedef struct ei_packed_shape {
    int64_t groups, channels;
    int64_t segments, length;
} ei_packed_shape;

/// Operands 1 to 3 of a node, weights, bias and multiplier: dtypes (the bias is int32 for int8
/// activations, int64 for int16), at least as large as the shape says, weights of channels and values
/// that do not exist zero (a tier may multiply them by anything), multipliers finite.
ei_status ei_check_packed(const ei_node *node, const ei_packed_shape *shape);

/// Operand `input` of a convolution, the row of zero points, or NULL for absent: `elements` or more the
/// dtype of x, all equal (a tier may read any of them for any tap).
ei_status ei_check_zero_row(const ei_node *node, uint32_t input, uint32_t x_dtype,
                            uint64_t elements);

/// Weights, or what else is constant, large and operand 1, of one of the nodes that follow.
ei_weights_hint ei_later_weights(const ei_bound_node *node, const ei_run_context *context);

#endif
