/// Check of constant operands in the packed layout (docs/internals/kernels.md).
#ifndef EI_OPS_PACKED_H
#define EI_OPS_PACKED_H

#include "kernels/float_tile.h"
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
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

/// Operands 1 and 2 of a node on float32, weights (float32, or float16 where `half` allows it) and bias:
/// as large as the shape says; values of K are not rounded up. Channels that do not exist may hold
/// anything.
ei_status ei_check_packed_f32(const ei_node *node, const ei_packed_shape *shape, int half);

/// The scheme of operand 1, 0 where it is int8 or absent.
static inline ei_f4_scheme ei_weights_scheme(const ei_tensor_record *weights) {
    return weights == NULL ? 0 : (ei_f4_scheme)weights->flags;
}

/// Operands 1 to 3 of a node whose weights are of four bits, one segment of `shape`: weights, bias and
/// multiplier (float32), at least as large as the shape says, no scale a NaN or negative, multipliers
/// finite. Channels and values that do not exist may have any code.
ei_status ei_check_packed_f4(const ei_node *node, const ei_packed_shape *shape);

/// The same of weights and multiplier alone, wherever they are among the operands; `what` messages call the weights.
ei_status ei_check_packed_f4_values(const ei_node *node, const ei_tensor_record *weights,
                                    const char *what, const ei_tensor_record *multiplier,
                                    const ei_packed_shape *shape);

/// Weights int8 of one segment, bias and multiplier float32.
ei_status ei_check_packed_s8c_f32(const ei_node *node, const ei_packed_shape *shape);

/// Operand `input` of a convolution of float32, or NULL for absent: `elements` or more, all +0.
ei_status ei_check_float_zero_row(const ei_node *node, uint32_t input, uint64_t elements);

/// Operand `input` of a convolution, the row of zero points, or NULL for absent: `elements` or more the
/// dtype of x, all equal (a tier may read any of them for any tap).
ei_status ei_check_zero_row(const ei_node *node, uint32_t input, uint32_t x_dtype,
                            uint64_t elements);

/// Which of the nodes that follow has weights, or what else is constant, large and operand 1, to fetch while this one
/// runs; `end` is behind the last of them. Nodes are in the order in which they run, and bound.
uint8_t ei_find_later_weights(const ei_bound_node *node, const ei_bound_node *end);

/// What ei_find_later_weights found when the session was made.
static inline ei_weights_hint ei_later_weights(const ei_bound_node *node) {
    if (node->later == 0) {
        return (ei_weights_hint){NULL, 0};
    }
    const ei_view *view = ei_input_view(node + node->later, 1);
    return (ei_weights_hint){(const int8_t *)view->base,
                             (size_t)view->tensor->rows * view->tensor->row_bytes};
}

/// Products of a byte that holds two weights.
#define EI_WORK_OF_A_FOUR_BIT_BYTE 2

/// Work of an operator that multiplies each pixel (vector) of y with all of its packed weights, `factor` being how much
/// longer it takes for that than a convolution of int8 with one group. by_channels: run() uses ei_packed_range_of.
ei_work ei_packed_work(const ei_bound_node *node, uint64_t factor, int by_channels);

/// Operands from the first output channel that a run is to compute, of an operator with one group.
typedef struct ei_packed_range {
    uint32_t count;
    uint8_t *y;
    const void *weights, *bias, *multiplier;
} ei_packed_range;

/// `k` counts the values of an output channel, each segment rounded up to 4.
static inline ei_packed_range ei_packed_range_of(const ei_bound_node *node,
                                                 const ei_run_context *context, size_t k) {
    const ei_view *y = ei_output_view(node, 0);
    const size_t first = context->first_channel;
    const size_t end = context->end_channel != 0 ? context->end_channel
                                                 : (uint32_t)y->tensor->dims[y->tensor->rank - 1];
    const int wide = y->tensor->dtype == EI_INT16;
    return (ei_packed_range){
        .count = (uint32_t)(end - first),
        .y = y->base + first * (wide ? sizeof(int16_t) : sizeof(int8_t)),
        .weights = ei_input_view(node, 1)->base + first * k,
        .bias = ei_input_view(node, 2)->base + first * (wide ? sizeof(int64_t) : sizeof(int32_t)),
        .multiplier = ei_input_view(node, 3)->base + first * sizeof(float),
    };
}

/// The same of weights of four bits with k values of a channel; y has elements of `y_bytes`.
static inline ei_packed_range ei_packed_f4_range_of(const ei_bound_node *node,
                                                    const ei_run_context *context, size_t k,
                                                    size_t y_bytes) {
    const ei_view *y = ei_output_view(node, 0);
    const ei_view *weights = ei_input_view(node, 1);
    const ei_f4_scheme scheme = ei_weights_scheme(weights->tensor);
    const size_t block = ei_f4_block(scheme);
    const size_t first = context->first_channel;
    const size_t end = context->end_channel != 0 ? context->end_channel
                                                 : (uint32_t)y->tensor->dims[y->tensor->rank - 1];
    return (ei_packed_range){
        .count = (uint32_t)(end - first),
        .y = y->base + first * y_bytes,
        .weights =
            weights->base + first / EI_TILE_CHANNELS * ei_f4_bytes((k + block - 1) / block, scheme),
        .bias = ei_input_view(node, 2)->base + first * sizeof(float),
        .multiplier = ei_input_view(node, 3)->base + first * sizeof(float),
    };
}

/// The same of an operator on float32.
typedef struct ei_packed_f32_range {
    uint32_t count;
    int half; // weights are float16
    uint8_t *y;
    const void *weights;
    const float *bias;
} ei_packed_f32_range;

static inline ei_packed_f32_range ei_packed_f32_range_of(const ei_bound_node *node,
                                                         const ei_run_context *context, size_t k) {
    const ei_view *y = ei_output_view(node, 0);
    const ei_view *weights = ei_input_view(node, 1);
    const size_t first = context->first_channel;
    const size_t end = context->end_channel != 0 ? context->end_channel
                                                 : (uint32_t)y->tensor->dims[y->tensor->rank - 1];
    const int half = weights->tensor->dtype == EI_FLOAT16;
    return (ei_packed_f32_range){
        .count = (uint32_t)(end - first),
        .half = half,
        .y = y->base + first * sizeof(float),
        .weights = weights->base + first * k * ei_weight_bytes(half),
        .bias = (const float *)(const void *)ei_input_view(node, 2)->base + first,
    };
}

/// ei_packed_work of an operator on float32.
static inline ei_work ei_packed_f32_work(const ei_bound_node *node, int by_channels) {
    // As many bytes as a product of float32 is slower than one of int8.
    const int half = ei_input_view(node, 1)->tensor->dtype == EI_FLOAT16;
    return ei_packed_work(node, half ? 2 : 1, by_channels);
}

#endif
