/// What an operator is to the rest of the library: a contract checked once when a model is opened, and a function that
/// runs a band of rows. Operators translate nodes into kernel arguments; arithmetic is in kernels/.
#ifndef EI_OPS_OP_H
#define EI_OPS_OP_H

#include <stddef.h>
#include <stdint.h>

#include "edgeinfer.h"
#include "kernels/rows.h"
#include "kernels/table.h"
#include "model/format.h"

/// Parameter structs, one per operator: typedef struct ei_conv2d_params { int32_t kernel_h; ... } ei_conv2d_params;
#define EI_I32(field) int32_t field;
#define EI_F32(field) float field;
#define EI_OPERATOR(id, name, op, params, min_inputs, max_inputs, outputs, fields)                 \
    typedef struct params {                                                                        \
        fields                                                                                     \
    } params;
#include "ops/operators.def"
#undef EI_OPERATOR
#undef EI_I32
#undef EI_F32

/// A node whose records are known to lie inside the file, as check() sees it.
typedef struct ei_node {
    const ei_node_record *record;
    const uint32_t *operands;        // inputs, then outputs: indices of tensors, or EI_NO_TENSOR
    const ei_tensor_record *tensors; // of the file
    const uint8_t *constants;        // start of the constants section
    const void *params;              // of the operator's struct, 4-byte aligned
    const char *name;
    uint32_t index; // in the file, for messages
} ei_node;

/// Tensor record of an operand, or NULL where it is absent. Inputs count from 0; outputs follow them.
static inline const ei_tensor_record *ei_node_input(const ei_node *node, uint32_t i) {
    if (i >= node->record->input_count || node->operands[i] == EI_NO_TENSOR)
        return NULL;
    return &node->tensors[node->operands[i]];
}
static inline const ei_tensor_record *ei_node_output(const ei_node *node, uint32_t i) {
    return &node->tensors[node->operands[node->record->input_count + i]];
}
static inline int ei_tensor_is_constant(const ei_tensor_record *tensor) {
    return tensor->buffer == EI_NO_BUFFER;
}
/// Bytes of a constant operand.
static inline const void *ei_node_constant(const ei_node *node, const ei_tensor_record *tensor) {
    return node->constants + tensor->offset;
}

/// An operand at run time. 32 bytes at most: counted in EI_SESSION_OPERAND_BYTES. `base` is NULL where absent.
typedef struct ei_view {
    uint8_t *base; // the tensor's first byte; constants are never written through it
    const ei_tensor_record *tensor; // shape and rows
    union {
        struct {
            uint32_t
                next_view; // chain of the views that move with a graph input or output; owned by run/
            uint32_t reserved;
        };
        const void *bound; // of a constant, which is in no chain: what the operator's bind() found
    };
    // Rows held at `base`: the tensor's ring_rows, or all rows where the caller's array stands in for a ring.
    uint32_t ring_rows;
    uint32_t
        fed_rows; // of the first view of a graph input: rows given in a run by rows; owned by run/
} ei_view;

/// A node at run time.
typedef struct ei_bound_node {
    const struct ei_op *op;
    const void *params;
    ei_view *views; // inputs, then outputs
    uint16_t input_count;
    uint8_t output_count;
    uint8_t
        later; // so many nodes on, operand 1 is worth fetching ahead; 0: none (ei_find_later_weights)
    uint32_t row_share; // of a part that is worth a thread, in 2^-16; 0: not shared. Owned by run/
} ei_bound_node;

static inline const ei_view *ei_input_view(const ei_bound_node *node, uint32_t i) {
    return &node->views[i];
}
static inline const ei_view *ei_output_view(const ei_bound_node *node, uint32_t i) {
    return &node->views[node->input_count + i];
}
static inline ei_rows ei_view_rows(const ei_view *view) {
    return (ei_rows){view->base, view->tensor->rows, view->ring_rows, view->tensor->row_bytes};
}
/// The same from another first byte, that of a channel further on.
static inline ei_rows ei_view_rows_at(const ei_view *view, uint8_t *base) {
    ei_rows rows = ei_view_rows(view);
    rows.base = base;
    return rows;
}

/// What a band needs and gets besides the node.
typedef struct ei_run_context {
    const ei_kernels *kernels;
    uint8_t *scratch; // the program's scratch_bytes
    // Output channels [first, end) to compute, of an operator whose work() has channels; first is a multiple of
    // EI_CHANNEL_UNIT, and so is end unless it is their number. 0, 0 stands for all.
    uint32_t first_channel, end_channel;
} ei_run_context;

/// Two tiles of packed weights: kernels do them at once.
#define EI_CHANNEL_UNIT 32

/// Rows [begin, end) of an input.
typedef struct ei_row_range {
    uint32_t begin, end;
} ei_row_range;

/// What threads that share a node's work go by. Work is counted in multiply-adds of a convolution of int8, of which the
/// fastest tier does some 200 in a nanosecond.
typedef struct ei_work {
    uint64_t row;          // of one row of output 0
    uint32_t channels;     // of output 0 where run() heeds context->channels; 0 where it does not
    uint64_t weight_bytes; // read for every range of rows, however short
    uint64_t input_row_bytes; // read for every range of channels, per row of output 0
} ei_work;

typedef struct ei_op {
    const char *name;
    /// Checks everything about the node that run() relies on: dtypes, ranks, shapes, parameters, sizes of constants,
    /// finite multipliers, tables in range, whole (not ring) operands where it needs them. The caller has already checked
    /// operand counts, records, dims >= 1, that rows, row_bytes and sizes agree with the shape, and that outputs are not
    /// constants. Fails with ei_fail(EI_ERROR_OPERATOR, ...), the message starting with the operand or parameter; the caller
    /// puts node name and operator in front.
    ei_status (*check)(const ei_node *node);
    /// Rows of activation input i that output rows [begin, end) read; called on checked nodes. NULL: all rows of every
    /// input, whatever the band.
    ei_row_range (*input_rows)(const ei_node *node, uint32_t i, uint32_t begin, uint32_t end);
    /// Rows of output 0 that a step which begins at row `begin` goes on from, and so reads; called on checked nodes. NULL:
    /// none.
    ei_row_range (*own_rows)(const ei_node *node, uint32_t begin);
    /// Scratch bytes that run() uses, or NULL for none.
    uint64_t (*scratch_bytes)(const ei_node *node);
    /// What is left to check and find when a session is made; `bound` is the node with its operands in their places. NULL:
    /// nothing. Fails as check() does.
    ei_status (*bind)(const ei_node *node, ei_bound_node *bound);
    /// Computes rows [begin, end) of output 0 (and what belongs to them of the others). Fails on data only.
    ei_status (*run)(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end);
    /// Work of a node that has passed check(). NULL: by the bytes of its activations (ei_work_of).
    ei_work (*work)(const ei_bound_node *node);
    /// 1 when threads may not share a step: run() can fail, has next to nothing to do, or own_rows. Otherwise different ranges of
    /// rows are run at the same time, as they are for operators without scratch.
    int one_thread;
    /// 1 when run() computes all rows at once: the validator refuses steps of fewer.
    int whole_steps;
    /// 1 when an output may lie in the very bytes of input i of the same size (it reads an element before writing it).
    int in_place;
} ei_op;

#define EI_WORK_OF_A_BYTE          8 // read or written by an operator that does little else
#define EI_WORK_OF_A_FLOAT_PRODUCT 4

/// The operator's work(), or an estimate where it has none.
ei_work ei_work_of(const ei_bound_node *node);

/// The table behind operators.def: ids are 1 to EI_OP_COUNT. NULL when there is no such operator.
const ei_op *ei_op_find(uint16_t id);
/// sizeof the operator's parameter struct, and its operand counts.
typedef struct ei_op_shape {
    uint32_t params_bytes, min_inputs, max_inputs, outputs;
} ei_op_shape;
const ei_op_shape *ei_op_shape_find(uint16_t id);

#define EI_OPERATOR(id, name, op, params, min_inputs, max_inputs, outputs, fields)                 \
    extern const ei_op op;
#include "ops/operators.def"
#undef EI_OPERATOR

#endif
