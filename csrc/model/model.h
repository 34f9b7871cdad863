/// An open model: pointers into a file whose every byte has been checked (validate.h).
#ifndef EI_MODEL_MODEL_H
#define EI_MODEL_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "edgeinfer.h"
#include "model/format.h"
#include "ops/op.h"

#define EI_NO_IO   0xffffffffu
#define EI_NO_VIEW 0xffffffffu

/// What a session needs to know of a buffer and the file does not say.
typedef struct ei_buffer_binding {
    uint32_t io;         // the graph input or output that fills it, or EI_NO_IO
    uint32_t first_view; // first operand of the program's nodes that lies in it, in the order of a
                         // session's views, or EI_NO_VIEW. Kept for graph inputs and outputs only
} ei_buffer_binding;

struct ei_model {
    const uint8_t *data;
    size_t bytes;

    const ei_program_record *programs;
    const ei_buffer_record *buffers;
    const ei_tensor_record *tensors;
    const ei_node_record *nodes;
    const uint32_t *operands;
    const ei_step_record *steps;
    uint32_t program_count, buffer_count, tensor_count, node_count, operand_count, step_count;

    const uint8_t *params;
    const uint8_t *constants;
    const char *strings;
    const char *metadata;
    size_t params_bytes, constants_bytes, strings_bytes, metadata_bytes;

    ei_buffer_binding *bindings;  // one per buffer of the file
    struct ei_validation *checks; // memory of the validator; nothing reads it afterwards

    void *mapping; // what ei_model_close unmaps; NULL when the caller owns the bytes
};

/// Maps the file and validates it; the handle is allocated.
ei_status ei_model_map(const char *path, ei_model **model);
/// Undoes ei_model_map; does nothing for a model in the caller's memory.
void ei_model_unmap(ei_model *model);

/// Text at an offset of the strings section; "?" for an offset outside, which only messages meet.
static inline const char *ei_model_string(const ei_model *model, uint32_t offset) {
    return offset < model->strings_bytes ? model->strings + offset : "?";
}

/// Node `index` of the file, as operators know it. Its record has been checked.
static inline ei_node ei_model_node(const ei_model *model, uint32_t index) {
    const ei_node_record *record = &model->nodes[index];
    return (ei_node){
        .record = record,
        .operands = model->operands + record->first_operand,
        .tensors = model->tensors,
        .constants = model->constants,
        .params = model->params + record->params_offset,
        .name = ei_model_string(model, record->name),
        .index = index,
    };
}

static inline const ei_buffer_record *ei_program_buffer(const ei_model *model,
                                                        const ei_program_record *program,
                                                        const ei_tensor_record *tensor) {
    return &model->buffers[program->first_buffer + tensor->buffer];
}

/// The node of the step at which the arena is fullest.
static inline const ei_node_record *ei_program_peak_node(const ei_model *model,
                                                         const ei_program_record *program) {
    const ei_step_record *step = &model->steps[program->first_step + program->peak_step];
    return &model->nodes[program->first_node + step->node];
}

/// Bytes that a tensor takes where it lies: of its ring, or of all rows. At most
/// EI_MAX_TENSOR_BYTES.
static inline uint32_t ei_tensor_held_bytes(const ei_tensor_record *tensor) {
    return tensor->ring_rows * tensor->row_bytes;
}

/// Bytes of the dense array.
static inline uint32_t ei_tensor_dense_bytes(const ei_tensor_record *tensor) {
    return tensor->rows * tensor->row_bytes;
}

/// Where the parts of a session lie in its memory; `bytes` is what the file promises.
typedef struct ei_session_layout {
    uint64_t nodes, views, scratch, arena, state; // offsets
    uint64_t bytes;
} ei_session_layout;

/// The formula of format.h. `operands` counts those of the program's nodes. Sets *overflow when a
/// size does not fit 64 bits.
ei_session_layout ei_session_layout_of(const ei_program_record *program, uint64_t operands,
                                       int *overflow);

#endif
