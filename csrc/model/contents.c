#include "model/contents.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/sort.h"
#include "model/overlap.h"
#include "model/validate.h"

// Special values of ei_tensor_track.producer.
#define EI_PRODUCER_NONE  0xffffffffu // a view
#define EI_PRODUCER_INPUT 0xfffffffeu

#define EI_NONE 0xffffffffu // no slot; no tensor in the chain

static uint64_t end_of(const ei_tensor_record *tensor) {
    return tensor->offset + ei_tensor_held_bytes(tensor);
}

static int is_ring(const ei_tensor_record *tensor) {
    return tensor->ring_rows != tensor->rows;
}

static int in_arena(const ei_model *model, const ei_program_record *program, uint32_t tensor) {
    return ei_program_buffer(model, program, &model->tensors[tensor])->region == EI_REGION_ARENA;
}

static const ei_tensor_record *slot_shape(const ei_model *model, const ei_slot *slot) {
    return &model->tensors[slot->shape];
}

/// Bytes of the slot that have been written since the walk began, rows of a ring counted from row 0.
static uint32_t slot_written(const ei_contents *contents, const ei_slot *slot) {
    return slot->head == EI_NONE ? 0 : contents->tracks[slot->head].written;
}

// --- finding producers and slots

static ei_status find_producers(ei_contents *contents, const ei_model *model,
                                const ei_program_record *program) {
    ei_tensor_track *tracks = contents->tracks;
    for (uint32_t i = 0; i < program->tensor_count; i++) {
        tracks[program->first_tensor + i] = (ei_tensor_track){
            .producer = EI_PRODUCER_NONE, .slot = EI_NONE, .under = EI_NONE, .over = EI_NONE};
    }
    for (uint32_t i = 0; i < program->input_count; i++) {
        tracks[model->operands[program->first_input + i]].producer = EI_PRODUCER_INPUT;
    }
    for (uint32_t n = 0; n < program->node_count; n++) {
        const uint32_t node = program->first_node + n;
        const ei_node_record *record = &model->nodes[node];
        for (uint32_t o = 0; o < record->output_count; o++) {
            const uint32_t tensor =
                model->operands[record->first_operand + record->input_count + o];
            if (tracks[tensor].producer != EI_PRODUCER_NONE) {
                ei_fail(EI_ERROR_FORMAT, "is the output of node %" PRIu32 " too",
                        tracks[tensor].producer);
                return ei_fail_in_node(ei_fail_in_tensor(EI_ERROR_FORMAT, model, tensor), model,
                                       node);
            }
            tracks[tensor].producer = node;
        }
    }
    return EI_OK;
}

static int bytes_are_before(const void *context, uint32_t a, uint32_t b) {
    const ei_tensor_record *x = (const ei_tensor_record *)context + a;
    const ei_tensor_record *y = (const ei_tensor_record *)context + b;
    if (x->buffer != y->buffer) {
        return x->buffer < y->buffer;
    }
    if (x->offset != y->offset) {
        return x->offset < y->offset;
    }
    return end_of(x) < end_of(y);
}

static ei_status find_slots(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program) {
    const ei_tensor_record *tensors = model->tensors;
    uint32_t *order = contents->order;
    uint32_t count = 0;
    for (uint32_t i = 0; i < program->tensor_count; i++) {
        const uint32_t tensor = program->first_tensor + i;
        if (tensors[tensor].buffer != EI_NO_BUFFER && in_arena(model, program, tensor) &&
            contents->tracks[tensor].producer != EI_PRODUCER_NONE) {
            order[count++] = tensor;
        }
    }
    ei_sort(order, count, bytes_are_before, tensors);
    contents->slot_count = 0;
    memset(contents->buffers, 0, program->buffer_count * sizeof *contents->buffers);
    uint32_t in_buffer = 0;
    for (uint32_t i = 0; i < count; i++) {
        const ei_tensor_record *tensor = &tensors[order[i]];
        const ei_tensor_record *before = i == 0 ? NULL : &tensors[order[i - 1]];
        const int same_buffer = before != NULL && before->buffer == tensor->buffer;
        const int same_bytes =
            same_buffer && before->offset == tensor->offset && end_of(before) == end_of(tensor);
        if (!same_buffer) {
            contents->buffers[tensor->buffer].first = i;
        } else if (same_bytes ? is_ring(tensor) || is_ring(before)
                              : tensor->offset < end_of(before)) {
            contents->buffers[tensor->buffer].overlaps = 1;
        }
        if (!same_bytes) {
            in_buffer = same_buffer ? in_buffer + 1 : 1;
            if (in_buffer > EI_MAX_SLOTS) {
                return ei_fail(EI_ERROR_FORMAT,
                               "buffer %" PRIu32 ": nodes write more than %d different parts of it",
                               tensor->buffer, EI_MAX_SLOTS);
            }
            contents->slots[contents->slot_count++] = (ei_slot){order[i], EI_NONE, EI_NONE};
        }
        contents->tracks[order[i]].slot = contents->slot_count - 1;
    }
    return EI_OK;
}

ei_status ei_contents_start(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program) {
    EI_TRY(find_producers(contents, model, program));
    EI_TRY(find_slots(contents, model, program));
    EI_TRY(ei_overlain_start(contents, model, program));
    contents->step = 0;
    contents->has_rings = 0;
    for (uint32_t i = 0; i < program->input_count; i++) {
        const uint32_t tensor = model->operands[program->first_input + i];
        ei_tensor_track *track = &contents->tracks[tensor];
        if (is_ring(&model->tensors[tensor])) {
            contents->has_rings = 1;
        } else {
            track->written = ei_tensor_dense_bytes(&model->tensors[tensor]);
        }
        contents->slots[track->slot].head = tensor;
        contents->slots[track->slot].tail = tensor;
    }
    return EI_OK;
}

// --- views

/// The first slot of the buffer that ends behind `offset`; slot_count when there is none.
static uint32_t first_slot_behind(const ei_contents *contents, const ei_model *model,
                                  uint32_t buffer, uint64_t offset) {
    uint32_t low = 0;
    uint32_t high = contents->slot_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const ei_tensor_record *shape = slot_shape(model, &contents->slots[middle]);
        if (shape->buffer < buffer || (shape->buffer == buffer && end_of(shape) <= offset)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/// Finds the slots under a view, which must cover all of it.
static ei_status resolve_view(ei_contents *contents, const ei_model *model, uint32_t tensor) {
    const ei_tensor_record *view = &model->tensors[tensor];
    const uint32_t first = first_slot_behind(contents, model, view->buffer, view->offset);
    uint64_t covered = view->offset;
    for (uint32_t i = first; covered < end_of(view); i++) {
        const ei_tensor_record *shape =
            i < contents->slot_count ? slot_shape(model, &contents->slots[i]) : NULL;
        if (shape == NULL || shape->buffer != view->buffer || shape->offset > covered) {
            return ei_fail(EI_ERROR_FORMAT, "nothing writes its bytes from %" PRIu64 " on",
                           covered - view->offset);
        }
        if ((is_ring(shape) || is_ring(view)) && !ei_tensors_same_rows(shape, view)) {
            return ei_fail(EI_ERROR_FORMAT,
                           "shows bytes of tensor %" PRIu32 ", but rings must have the same rows",
                           contents->slots[i].shape);
        }
        covered = end_of(shape);
    }
    contents->tracks[tensor].slot = first;
    return EI_OK;
}

/// Bytes of a view that are written, from its start without a gap; of a ring from row 0. Slots that
/// were found full are not looked at again.
static uint64_t view_written(ei_contents *contents, const ei_model *model, uint32_t tensor) {
    const ei_tensor_record *view = &model->tensors[tensor];
    ei_tensor_track *track = &contents->tracks[tensor];
    for (;;) {
        const ei_slot *slot = &contents->slots[track->slot];
        const ei_tensor_record *shape = slot_shape(model, slot);
        const uint64_t written = slot_written(contents, slot);
        if (is_ring(view)) {
            return written;
        }
        const uint64_t end = shape->offset + written;
        if (end < end_of(shape) || end >= end_of(view)) {
            return end > view->offset ? end - view->offset : 0;
        }
        track->slot++;
    }
}

// --- the walk

static ei_status check_ring(const ei_tensor_record *tensor, uint32_t begin, uint64_t written) {
    const uint64_t first = (uint64_t)begin * tensor->row_bytes;
    if (is_ring(tensor) && written > first + ei_tensor_held_bytes(tensor)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "row %" PRIu32 " has left the ring of %" PRIu32 " rows: %" PRIu64
                       " are written",
                       begin, tensor->ring_rows, written / tensor->row_bytes);
    }
    return EI_OK;
}

static ei_status check_read(ei_contents *contents, const ei_model *model, uint32_t tensor,
                            uint32_t begin, uint32_t end) {
    const ei_tensor_record *record = &model->tensors[tensor];
    ei_tensor_track *track = &contents->tracks[tensor];
    const int is_view = track->producer == EI_PRODUCER_NONE;
    if (contents->buffers[record->buffer].lies_under) {
        EI_TRY(ei_overlain_read(contents, model, tensor, begin, end));
    }
    if (contents->buffers[record->buffer].overlaps) {
        return is_view ? ei_overlap_read_view(contents, model, tensor, begin, end)
                       : ei_overlap_read(contents, model, tensor, begin, end);
    }
    if (is_view && track->slot == EI_NONE) {
        EI_TRY(resolve_view(contents, model, tensor));
    }
    const uint64_t written = is_view ? view_written(contents, model, tensor) : track->written;
    if (written < (uint64_t)end * record->row_bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "rows %" PRIu32 " to %" PRIu32 " are read, only %" PRIu64 " are written",
                       begin, end, written / record->row_bytes);
    }
    if (track->over != EI_NONE &&
        contents->tracks[track->over].written > (uint64_t)begin * record->row_bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "row %" PRIu32 " is read after tensor %" PRIu32 " was written over it",
                       begin, track->over);
    }
    // The head of the chain is ahead of the others: its newest rows are what others' oldest lose to.
    return check_ring(record, begin, slot_written(contents, &contents->slots[track->slot]));
}

void ei_contents_feed(ei_contents *contents, const ei_model *model,
                      const ei_program_record *program, uint32_t tensor, uint32_t begin,
                      uint32_t end) {
    const ei_tensor_record *record = &model->tensors[tensor];
    const uint32_t io = model->bindings[program->first_buffer + record->buffer].io;
    if (begin >= end || end > record->rows || io >= program->input_count) {
        return; // empty, refused by the caller, or none of these
    }
    const uint32_t input = model->operands[program->first_input + io];
    ei_tensor_track *track = &contents->tracks[input];
    // A view of a ring has its rows; one that has not is refused when it is read.
    const uint32_t bytes = end * record->row_bytes;
    if (ei_tensors_same_rows(record, &model->tensors[input]) && bytes > track->written) {
        track->written = bytes;
    }
}

ei_status ei_contents_read(ei_contents *contents, const ei_model *model,
                           const ei_program_record *program, uint32_t tensor, uint32_t begin,
                           uint32_t end) {
    if (begin == end || !in_arena(model, program, tensor)) {
        return EI_OK;
    }
    const ei_status status = check_read(contents, model, tensor, begin, end);
    return status == EI_OK ? EI_OK : ei_fail_in_tensor(status, model, tensor);
}

static ei_status check_write(ei_contents *contents, const ei_model *model,
                             const ei_program_record *program, uint32_t tensor, uint32_t begin,
                             uint32_t end) {
    const ei_tensor_record *record = &model->tensors[tensor];
    ei_tensor_track *track = &contents->tracks[tensor];
    if ((uint64_t)begin * record->row_bytes != track->written) {
        return ei_fail(EI_ERROR_FORMAT,
                       "rows %" PRIu32 " to %" PRIu32 " are written, the next one is row %" PRIu32,
                       begin, end, track->written / record->row_bytes);
    }
    if (end - begin > record->ring_rows) {
        return ei_fail(EI_ERROR_FORMAT,
                       "rows %" PRIu32 " to %" PRIu32 " are written, the ring has only %" PRIu32,
                       begin, end, record->ring_rows);
    }
    track->written = end * record->row_bytes;
    if (!in_arena(model, program, tensor)) {
        return EI_OK;
    }
    if (contents->has_overlain) {
        EI_TRY(ei_overlain_write(contents, model, program, tensor, begin, end));
    }
    if (contents->buffers[record->buffer].overlaps) {
        return ei_overlap_write(contents, model, tensor, begin, end);
    }
    ei_slot *slot = &contents->slots[track->slot];
    if (slot->head == EI_NONE) {
        slot->head = tensor;
        slot->tail = tensor;
    } else if (begin == 0) {
        track->under = slot->tail;
        contents->tracks[slot->tail].over = tensor;
        slot->tail = tensor;
    }
    if (track->under != EI_NONE && contents->tracks[track->under].written < track->written) {
        return ei_fail(EI_ERROR_FORMAT,
                       "row %" PRIu32 " is written over tensor %" PRIu32 " before that has its own",
                       end - 1, track->under);
    }
    return check_ring(record, begin, slot_written(contents, slot));
}

ei_status ei_contents_write(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program, uint32_t tensor, uint32_t begin,
                            uint32_t end) {
    const ei_status status = check_write(contents, model, program, tensor, begin, end);
    return status == EI_OK ? EI_OK : ei_fail_in_tensor(status, model, tensor);
}

ei_status ei_contents_finish(const ei_contents *contents, const ei_model *model,
                             const ei_program_record *program) {
    for (uint32_t i = 0; i < program->tensor_count; i++) {
        const uint32_t tensor = program->first_tensor + i;
        const ei_tensor_record *record = &model->tensors[tensor];
        const ei_tensor_track *track = &contents->tracks[tensor];
        if (record->buffer == EI_NO_BUFFER || track->producer == EI_PRODUCER_NONE ||
            track->producer == EI_PRODUCER_INPUT ||
            track->written == ei_tensor_dense_bytes(record)) {
            continue;
        }
        ei_fail(EI_ERROR_FORMAT,
                "after the last step: only %" PRIu32 " of %" PRIu32 " rows are written",
                track->written / record->row_bytes, record->rows);
        return ei_fail_in_tensor(EI_ERROR_FORMAT, model, tensor);
    }
    return EI_OK;
}
