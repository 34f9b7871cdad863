#include "model/overlap.h"

#include <inttypes.h>

#include "base/dtype.h"
#include "base/error.h"
#include "model/validate.h"

/// Every step compares what it writes with the tensors of the buffer that may still be read. No real
/// plan comes near this limit on what all steps of a file compare; one made to be slow does.
#define EI_MAX_COMPARISONS (1ull << 26)

/// Bytes of a buffer.
typedef struct ei_run {
    uint64_t begin, end;
} ei_run;

static uint64_t min_of(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static int is_ring(const ei_tensor_record *tensor) {
    return tensor->ring_rows != tensor->rows;
}

static ei_run run_of(const ei_tensor_record *tensor) {
    return (ei_run){tensor->offset, tensor->offset + ei_tensor_held_bytes(tensor)};
}

static int runs_meet(ei_run a, ei_run b) {
    return a.begin < b.end && b.begin < a.end;
}

/// The bytes of rows [begin, end): one run, or two where they wrap around.
static uint32_t runs_of_rows(const ei_tensor_record *tensor, uint32_t begin, uint32_t end,
                             ei_run runs[2]) {
    const uint64_t row = tensor->row_bytes;
    if (end - begin >= tensor->ring_rows) {
        runs[0] = run_of(tensor);
        return 1;
    }
    const uint64_t first = begin % tensor->ring_rows;
    const uint64_t last = first + (end - begin);
    runs[0] = (ei_run){tensor->offset + first * row,
                       tensor->offset + min_of(last, tensor->ring_rows) * row};
    if (last <= tensor->ring_rows) {
        return 1;
    }
    runs[1] = (ei_run){tensor->offset, tensor->offset + (last - tensor->ring_rows) * row};
    return 2;
}

// --- two tensors

int ei_tensors_meet(const ei_tensor_record *a, const ei_tensor_record *b) {
    return a->buffer == b->buffer && runs_meet(run_of(a), run_of(b));
}

int ei_tensors_coincide(const ei_tensor_record *a, const ei_tensor_record *b) {
    int same = a->buffer == b->buffer && a->offset == b->offset && a->rank == b->rank &&
               ei_tensor_held_bytes(a) == ei_tensor_held_bytes(b) &&
               ei_dtype_bytes(a->dtype) == ei_dtype_bytes(b->dtype);
    for (uint32_t i = 0; i < EI_MAX_RANK; i++) {
        same = same && a->dims[i] == b->dims[i];
    }
    return same;
}

int ei_tensors_same_rows(const ei_tensor_record *a, const ei_tensor_record *b) {
    return a->offset == b->offset && a->rows == b->rows && a->ring_rows == b->ring_rows &&
           a->row_bytes == b->row_bytes;
}

int ei_rows_meet(const ei_tensor_record *a, uint32_t a_begin, uint32_t a_end,
                 const ei_tensor_record *b, uint32_t b_begin, uint32_t b_end) {
    if (a->buffer != b->buffer || a_begin == a_end || b_begin == b_end) {
        return 0;
    }
    ei_run a_runs[2];
    ei_run b_runs[2];
    const uint32_t a_count = runs_of_rows(a, a_begin, a_end, a_runs);
    const uint32_t b_count = runs_of_rows(b, b_begin, b_end, b_runs);
    for (uint32_t i = 0; i < a_count; i++) {
        for (uint32_t j = 0; j < b_count; j++) {
            if (runs_meet(a_runs[i], b_runs[j])) {
                return 1;
            }
        }
    }
    return 0;
}

// --- the walk

static uint32_t rows_written(const ei_contents *contents, const ei_model *model, uint32_t tensor) {
    return contents->tracks[tensor].written / model->tensors[tensor].row_bytes;
}

static ei_status count_comparisons(ei_contents *contents, uint32_t count) {
    contents->comparisons += count;
    return contents->comparisons <= EI_MAX_COMPARISONS
               ? EI_OK
               : ei_fail(EI_ERROR_FORMAT,
                         "steps up to this one compare tensors that overlap %" PRIu64 " times",
                         contents->comparisons);
}

/// One more than the newest of the written rows, at least one, that lies in these bytes, which meet
/// the tensor's; 0 when none does.
static uint32_t rows_lost(const ei_tensor_record *tensor, uint32_t written, ei_run bytes) {
    const ei_run held = run_of(tensor);
    const uint64_t offset = tensor->offset;
    const uint64_t ring = tensor->ring_rows;
    const uint64_t first = (max_of(bytes.begin, held.begin) - offset) / tensor->row_bytes;
    const uint64_t last = (min_of(bytes.end, held.end) - 1 - offset) / tensor->row_bytes;
    const uint64_t newest = (written - 1) % ring; // the place of row written - 1
    // Going back from the newest row, the first place in [first, last] that one comes to.
    const uint64_t back = first <= newest ? newest - min_of(last, newest) : newest + ring - last;
    return back < written ? (uint32_t)(written - back) : 0;
}

ei_status ei_overlap_write(ei_contents *contents, const ei_model *model, uint32_t tensor,
                           uint32_t begin, uint32_t end) {
    ei_buffer_track *buffer = &contents->buffers[model->tensors[tensor].buffer];
    uint32_t *live = contents->order + buffer->first;
    ei_run runs[2];
    const uint32_t count = runs_of_rows(&model->tensors[tensor], begin, end, runs);
    EI_TRY(count_comparisons(contents, buffer->live));
    for (uint32_t i = 0; i < buffer->live;) {
        ei_tensor_track *other = &contents->tracks[live[i]];
        const ei_tensor_record *record = &model->tensors[live[i]];
        for (uint32_t j = 0; j < count && live[i] != tensor; j++) {
            const uint32_t lost =
                runs_meet(run_of(record), runs[j])
                    ? rows_lost(record, rows_written(contents, model, live[i]), runs[j])
                    : 0;
            if (lost > other->lost) {
                other->lost = lost;
                other->lost_to = tensor;
            }
        }
        if (other->lost == record->rows) {
            live[i] = live[--buffer->live];
        } else {
            i++;
        }
    }
    if (begin == 0) {
        live[buffer->live++] = tensor;
    }
    return EI_OK;
}

ei_status ei_overlap_read(const ei_contents *contents, const ei_model *model, uint32_t tensor,
                          uint32_t begin, uint32_t end) {
    const ei_tensor_record *record = &model->tensors[tensor];
    const ei_tensor_track *track = &contents->tracks[tensor];
    const uint32_t written = rows_written(contents, model, tensor);
    if (written < end) {
        return ei_fail(EI_ERROR_FORMAT,
                       "rows %" PRIu32 " to %" PRIu32 " are read, only %" PRIu32 " are written",
                       begin, end, written);
    }
    if (begin < track->lost) {
        return ei_fail(EI_ERROR_FORMAT,
                       "row %" PRIu32 " is read after tensor %" PRIu32
                       " was written over row %" PRIu32,
                       begin, track->lost_to, track->lost - 1);
    }
    if (written - begin > record->ring_rows) {
        return ei_fail(EI_ERROR_FORMAT,
                       "row %" PRIu32 " has left the ring of %" PRIu32 " rows: %" PRIu32
                       " are written",
                       begin, record->ring_rows, written);
    }
    return EI_OK;
}

/// How far, from byte `at` on, an intact tensor fills the buffer; `at` where none does.
static uint64_t filled_from(const ei_contents *contents, const ei_model *model,
                            const ei_buffer_track *buffer, uint64_t at) {
    for (uint32_t i = 0; i < buffer->live; i++) {
        const uint32_t tensor = contents->order[buffer->first + i];
        const ei_tensor_record *record = &model->tensors[tensor];
        const ei_tensor_track *track = &contents->tracks[tensor];
        const uint64_t intact = record->offset + (uint64_t)track->lost * record->row_bytes;
        const uint64_t end = record->offset + track->written;
        if (!is_ring(record) && intact <= at && at < end) {
            return end;
        }
    }
    return at;
}

/// How far, from row `row` on, a ring with the rows of the view holds them; `row` where none does.
static uint32_t shown_from(const ei_contents *contents, const ei_model *model,
                           const ei_buffer_track *buffer, const ei_tensor_record *view,
                           uint32_t row) {
    for (uint32_t i = 0; i < buffer->live; i++) {
        const uint32_t tensor = contents->order[buffer->first + i];
        const uint32_t written = rows_written(contents, model, tensor);
        if (ei_tensors_same_rows(&model->tensors[tensor], view) && row < written &&
            contents->tracks[tensor].lost <= row && written - row <= view->ring_rows) {
            return written;
        }
    }
    return row;
}

static ei_status read_view_of_ring(ei_contents *contents, const ei_model *model,
                                   const ei_tensor_record *view, uint32_t begin, uint32_t end) {
    const ei_buffer_track *buffer = &contents->buffers[view->buffer];
    for (uint32_t row = begin; row < end;) {
        EI_TRY(count_comparisons(contents, buffer->live));
        const uint32_t shown = shown_from(contents, model, buffer, view, row);
        if (shown == row) {
            return ei_fail(EI_ERROR_FORMAT,
                           "rows %" PRIu32 " to %" PRIu32
                           " are read, but no ring of the same rows holds row %" PRIu32,
                           begin, end, row);
        }
        row = shown;
    }
    return EI_OK;
}

ei_status ei_overlap_read_view(ei_contents *contents, const ei_model *model, uint32_t tensor,
                               uint32_t begin, uint32_t end) {
    const ei_tensor_record *view = &model->tensors[tensor];
    const ei_buffer_track *buffer = &contents->buffers[view->buffer];
    if (is_ring(view)) {
        return read_view_of_ring(contents, model, view, begin, end);
    }
    const uint64_t stop = view->offset + (uint64_t)end * view->row_bytes;
    uint64_t at = view->offset + (uint64_t)begin * view->row_bytes;
    while (at < stop) {
        EI_TRY(count_comparisons(contents, buffer->live));
        const uint64_t filled = filled_from(contents, model, buffer, at);
        if (filled == at) {
            return ei_fail(EI_ERROR_FORMAT,
                           "rows %" PRIu32 " to %" PRIu32
                           " are read, but no tensor that is written and not overwritten holds "
                           "byte %" PRIu64 " of it",
                           begin, end, at - view->offset);
        }
        at = filled;
    }
    return EI_OK;
}

// --- graph inputs in whose bytes other buffers lie

ei_status ei_overlain_start(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program) {
    const ei_buffer_record *buffers = model->buffers + program->first_buffer;
    contents->has_overlain = 0;
    for (uint32_t i = 0; i < program->input_count; i++) {
        const ei_tensor_record *input = &model->tensors[model->operands[program->first_input + i]];
        for (uint32_t b = 0; b < program->buffer_count; b++) {
            if (b == input->buffer || !ei_buffers_collide(&buffers[input->buffer], &buffers[b])) {
                continue;
            }
            if (is_ring(input)) {
                return ei_fail(EI_ERROR_FORMAT,
                               "buffers %" PRIu32 " and %" PRIu32
                               ": overlap in the arena while both are alive, and graph input "
                               "%" PRIu32 " is a ring",
                               input->buffer, b, i);
            }
            contents->buffers[input->buffer].lies_under = 1;
            contents->has_overlain = 1;
        }
    }
    return EI_OK;
}

ei_status ei_overlain_read(ei_contents *contents, const ei_model *model, uint32_t tensor,
                           uint32_t begin, uint32_t end) {
    const ei_tensor_record *record = &model->tensors[tensor];
    ei_buffer_track *buffer = &contents->buffers[record->buffer];
    const uint32_t first = (uint32_t)record->offset + begin * record->row_bytes;
    const uint32_t stop = (uint32_t)record->offset + end * record->row_bytes;
    if (first < buffer->lost) {
        return ei_fail(EI_ERROR_FORMAT,
                       "row %" PRIu32 " is read after byte %" PRIu32
                       " of its graph input was written over by another buffer",
                       begin, buffer->lost - 1);
    }
    if (buffer->read_begin == buffer->read_end || buffer->read_step != contents->step) {
        buffer->read_step = contents->step;
        buffer->read_begin = first;
        buffer->read_end = stop;
    }
    buffer->read_begin = first < buffer->read_begin ? first : buffer->read_begin;
    buffer->read_end = stop > buffer->read_end ? stop : buffer->read_end;
    buffer->come = stop > buffer->come ? stop : buffer->come;
    return EI_OK;
}

/// Bytes [begin, end) of a graph input are written over.
static ei_status check_overlain(ei_buffer_track *input, uint32_t step, uint64_t begin,
                                uint64_t end) {
    if (end > input->come) {
        return ei_fail(EI_ERROR_FORMAT,
                       "is written over bytes %" PRIu64 " to %" PRIu64
                       " of a graph input, of which %" PRIu32 " have come for certain",
                       begin, end, input->come);
    }
    if (input->read_step == step && begin < input->read_end && input->read_begin < end) {
        return ei_fail(EI_ERROR_FORMAT,
                       "is written over bytes %" PRIu64 " to %" PRIu64
                       " of a graph input, which the step reads",
                       begin, end);
    }
    input->lost = end > input->lost ? (uint32_t)end : input->lost;
    return EI_OK;
}

ei_status ei_overlain_write(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program, uint32_t tensor, uint32_t begin,
                            uint32_t end) {
    const ei_tensor_record *record = &model->tensors[tensor];
    const uint64_t at = ei_program_buffer(model, program, record)->offset;
    ei_run runs[2];
    const uint32_t count = runs_of_rows(record, begin, end, runs);
    EI_TRY(count_comparisons(contents, program->input_count));
    for (uint32_t i = 0; i < program->input_count; i++) {
        const ei_tensor_record *input = &model->tensors[model->operands[program->first_input + i]];
        const ei_buffer_record *buffer = ei_program_buffer(model, program, input);
        ei_buffer_track *track = &contents->buffers[input->buffer];
        if (!track->lies_under || contents->step > buffer->last_step) {
            continue;
        }
        for (uint32_t j = 0; j < count; j++) {
            const uint64_t first = max_of(at + runs[j].begin, buffer->offset);
            const uint64_t stop = min_of(at + runs[j].end, buffer->offset + buffer->bytes);
            if (first < stop) {
                EI_TRY(check_overlain(track, contents->step, first - buffer->offset,
                                      stop - buffer->offset));
            }
        }
    }
    return EI_OK;
}
