// Runs by rows: a graph input comes in pieces, and a step runs as soon as the rows are there that it reads. The session's own
// place of an input is filled as the validator's walk has it (model/contents.h): a ring gets a row when the next step needs
// it, and not before. A whole buffer may have rows early, but none after the last step that reads it, when its bytes are
// others'.
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "base/ticks.h"
#include "run/session.h"

static const ei_buffer_record *buffer_of(const ei_session *session, uint32_t input) {
    return ei_program_buffer(session->model, session->program, ei_session_io(session, input));
}

/// The view that counts the rows of an input; NULL where no node reads it.
static ei_view *counter_of(const ei_session *session, uint32_t input) {
    const ei_program_record *program = session->program;
    const uint32_t buffer = ei_session_io(session, input)->buffer;
    const uint32_t first = session->model->bindings[program->first_buffer + buffer].first_view;
    return first == EI_NO_VIEW ? NULL : &session->views[first];
}

static uint32_t fed_rows(const ei_session *session, uint32_t input) {
    const ei_view *counter = counter_of(session, input);
    return counter == NULL || session->feeding != EI_FEEDING_UNDER_WAY ? 0 : counter->fed_rows;
}

/// So many rows of a graph input, from the first one, are needed for a step to read operand `o` of its node; 0 where that
/// is none. *input is the one.
static uint32_t rows_needed(const ei_session *session, const ei_step_record *step, uint32_t o,
                            uint32_t *input) {
    const ei_model *model = session->model;
    const ei_program_record *program = session->program;
    const ei_node_record *record = &model->nodes[program->first_node + step->node];
    const ei_op *op = session->nodes[step->node].op;
    const uint32_t *operands = model->operands + record->first_operand;
    if (operands[o] == EI_NO_TENSOR || ei_tensor_is_constant(&model->tensors[operands[o]])) {
        return 0;
    }
    const ei_tensor_record *tensor = &model->tensors[operands[o]];
    const uint32_t io = model->bindings[program->first_buffer + tensor->buffer].io;
    if (io >= program->input_count) {
        return 0;
    }
    const ei_node node = ei_model_node(model, program->first_node + step->node);
    const ei_row_range range = op->input_rows == NULL
                                   ? (ei_row_range){0, tensor->rows}
                                   : op->input_rows(&node, o, step->row_begin, step->row_end);
    if (range.begin == range.end) {
        return 0;
    }
    // A view may count other rows of the same bytes.
    const uint32_t row_bytes = ei_session_io(session, io)->row_bytes;
    const uint64_t bytes = tensor->offset + (uint64_t)range.end * tensor->row_bytes;
    *input = io;
    return (uint32_t)((bytes + row_bytes - 1) / row_bytes);
}

/// Rows of `input` that the next step needs.
static uint32_t next_step_needs(const ei_session *session, uint32_t input) {
    const ei_program_record *program = session->program;
    const ei_step_record *step = &session->model->steps[program->first_step + session->next_step];
    uint32_t most = 0;
    for (uint32_t o = 0; o < session->nodes[step->node].input_count; o++) {
        uint32_t io = input;
        const uint32_t rows = rows_needed(session, step, o, &io);
        most = io == input && rows > most ? rows : most;
    }
    return most;
}

/// The input that a step waits for; their number when it has all of its rows.
static uint32_t awaited_by(const ei_session *session, uint32_t index) {
    const ei_program_record *program = session->program;
    const ei_step_record *step = &session->model->steps[program->first_step + index];
    for (uint32_t o = 0; o < session->nodes[step->node].input_count; o++) {
        uint32_t input = 0;
        const uint32_t rows = rows_needed(session, step, o, &input);
        if (rows > 0 && rows > fed_rows(session, input)) {
            return input;
        }
    }
    return program->input_count;
}

uint32_t ei_session_untaken_rows(const ei_session *session, uint32_t input) {
    if (session->feeding == EI_FEEDING_DONE || counter_of(session, input) == NULL) {
        return 0;
    }
    return ei_session_io(session, input)->rows - fed_rows(session, input);
}

uint32_t ei_session_awaited_input(const ei_session *session) {
    const uint32_t count = session->program->input_count;
    const uint32_t step = session->feeding == EI_FEEDING_UNDER_WAY ? session->next_step : 0;
    if (session->feeding != EI_FEEDING_DONE && step < session->program->step_count) {
        const uint32_t awaited = awaited_by(session, step);
        if (awaited < count) {
            return awaited;
        }
    }
    uint32_t input = 0;
    while (input < count && ei_session_untaken_rows(session, input) == 0) {
        input++;
    }
    return input;
}

ei_status ei_session_start_feeding(ei_session *session, void *const *outputs) {
    EI_TRY(ei_session_rebind_outputs(session, outputs));
    for (uint32_t i = 0; i < session->program->input_count; i++) {
        ei_view *counter = counter_of(session, i);
        if (counter != NULL) {
            counter->fed_rows = 0;
        }
    }
    session->next_step = 0;
    session->feeding = EI_FEEDING_UNDER_WAY;
    if (session->ticks != NULL) {
        session->ticks[0] = ei_ticks();
    }
    return EI_OK;
}

/// Runs the steps that have all of their rows. Ticks go on from step to step as if no time had passed between.
static ei_status run_steps(ei_session *session) {
    while (session->next_step < session->program->step_count &&
           awaited_by(session, session->next_step) == session->program->input_count) {
        const uint64_t begin = session->ticks == NULL ? 0 : ei_ticks();
        EI_TRY(ei_session_step(session, session->next_step));
        if (session->ticks != NULL) {
            uint64_t *ticks = &session->ticks[session->next_step];
            ticks[1] = ticks[0] + (ei_ticks() - begin);
        }
        session->next_step++;
    }
    return EI_OK;
}

/// Whether a step may still read the session's own place of an input.
static int is_read(const ei_session *session, uint32_t input) {
    return session->next_step < session->program->step_count &&
           session->next_step <= buffer_of(session, input)->last_step;
}

/// Rows of an input that may be there, from the first one, before the next step has run.
static uint32_t takeable_rows(const ei_session *session, uint32_t input) {
    const ei_tensor_record *tensor = ei_session_io(session, input);
    return !is_read(session, input) || tensor->ring_rows == tensor->rows
               ? tensor->rows
               : next_step_needs(session, input);
}

/// Copies rows from row `first` on to their places, as many as fit without a gap; returns how many.
static uint32_t store_rows(const ei_session *session, uint32_t input, uint32_t first,
                           const uint8_t *rows, uint32_t count) {
    const ei_tensor_record *tensor = ei_session_io(session, input);
    const uint32_t at = first % tensor->ring_rows;
    const uint32_t room = tensor->ring_rows - at;
    const uint32_t stored = count < room ? count : room;
    memcpy(ei_session_io_memory(session, input) + (size_t)at * tensor->row_bytes, rows,
           (size_t)stored * tensor->row_bytes);
    return stored;
}

static ei_status take_and_run(ei_session *session, uint32_t input, const uint8_t *rows,
                              uint32_t count, uint32_t *taken) {
    const uint32_t row_bytes = ei_session_io(session, input)->row_bytes;
    ei_view *counter = counter_of(session, input);
    uint32_t done = counter == NULL ? count : 0;
    for (;;) {
        EI_TRY(run_steps(session));
        const uint32_t fed = counter == NULL ? 0 : counter->fed_rows;
        const uint32_t takeable = done == count ? fed : takeable_rows(session, input);
        if (takeable <= fed) {
            *taken = done;
            return EI_OK;
        }
        uint32_t next = takeable - fed < count - done ? takeable - fed : count - done;
        if (is_read(session, input)) {
            next = store_rows(session, input, fed, rows + (size_t)done * row_bytes, next);
        }
        counter->fed_rows += next;
        done += next;
    }
}

ei_status ei_session_take_rows(ei_session *session, uint32_t input, const uint8_t *rows,
                               uint32_t count, uint32_t *taken) {
    if (session->feeding != EI_FEEDING_UNDER_WAY) {
        EI_TRY(ei_session_start_feeding(session, NULL));
    }
    const ei_tensor_record *tensor = ei_session_io(session, input);
    const uint32_t left = ei_session_untaken_rows(session, input);
    if (count > left && counter_of(session, input) != NULL) {
        ei_text name = {0};
        return ei_fail(EI_ERROR_ARGUMENT,
                       "input %" PRIu32 " '%s': %" PRIu32 " rows are given, %" PRIu32
                       " of its %" PRIu32 " are still to come",
                       input, ei_printable(ei_model_string(session->model, tensor->name), &name),
                       count, left, tensor->rows);
    }
    const ei_status status = take_and_run(session, input, rows, count, taken);
    if (status != EI_OK) {
        session->feeding = EI_FEEDING_NONE;
        return status;
    }
    if (session->next_step == session->program->step_count &&
        ei_session_awaited_input(session) == session->program->input_count) {
        session->feeding = EI_FEEDING_DONE;
    }
    return EI_OK;
}
