// Argument checks in front of run/.
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "edgeinfer.h"
#include "kernels/table.h"
#include "model/model.h"
#include "run/session.h"

#define EI_TIER_VARIABLE      "EDGEINFER_TIER"
#define EI_PART_WORK_VARIABLE "EDGEINFER_PART_WORK"

/// Bytes of ei_session_options in the first version of the header; `tier` was its last member.
#define EI_FIRST_OPTIONS_BYTES (offsetof(ei_session_options, tier) + sizeof(const char *))

const char *ei_tier_name(int index) {
    return ei_kernels_tier(index);
}

int ei_tier_supported(const char *name) {
    return name != NULL && ei_kernels_find(name) != NULL;
}

/// The table of a tier, or an error that says whether this build or this CPU lacks it.
static ei_status find_tier(const char *name, const char *source, const ei_kernels **kernels) {
    const ei_kernels *found = ei_kernels_find(name);
    if (found != NULL) {
        *kernels = found;
        return EI_OK;
    }
    for (int i = 0; ei_kernels_tier(i) != NULL; i++) {
        if (strcmp(ei_kernels_tier(i), name) == 0) {
            return ei_fail(EI_ERROR_TIER, "%s is '%s', which this CPU does not support", source,
                           name);
        }
    }
    return ei_fail(EI_ERROR_TIER, "%s is '%s', which this build does not have", source,
                   ei_printable(name, &(ei_text){0}));
}

static ei_status find_default_tier(const ei_kernels **kernels) {
    const char *forced = getenv(EI_TIER_VARIABLE);
    if (forced != NULL && forced[0] != 0) {
        return find_tier(forced, EI_TIER_VARIABLE, kernels);
    }
    for (int i = 0; ei_kernels_tier(i) != NULL; i++) {
        const ei_kernels *faster = ei_kernels_find(ei_kernels_tier(i));
        *kernels = faster != NULL ? faster : *kernels;
    }
    return EI_OK;
}

ei_status ei_tier_default(const char **name) {
    if (name == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "name is NULL");
    }
    const ei_kernels *kernels = NULL;
    EI_TRY(find_default_tier(&kernels));
    *name = kernels->tier;
    return EI_OK;
}

static ei_status check_budget(const ei_model *model, const ei_session_plan *plan,
                              uint64_t ram_budget) {
    const ei_program_record *program = plan->program;
    if (ram_budget == 0 || plan->bytes <= ram_budget) {
        return EI_OK;
    }
    ei_text printable = {0};
    const char *name = ei_printable(ei_model_string(model, program->name), &printable);
    if (program->session_bytes <= ram_budget) {
        return ei_fail(EI_ERROR_BUDGET,
                       "program '%s' needs %" PRIu64 " bytes with %" PRIu32
                       " threads and ram_budget is %" PRIu64 ": %" PRIu64
                       " too few; each thread beyond the first takes %d, without them it needs "
                       "%" PRIu64,
                       name, plan->bytes, plan->threads, ram_budget, plan->bytes - ram_budget,
                       EI_SESSION_THREAD_BYTES, program->session_bytes);
    }
    const ei_node_record *peak = ei_program_peak_node(model, program);
    return ei_fail(EI_ERROR_BUDGET,
                   "program '%s' needs %" PRIu64 " bytes and ram_budget is %" PRIu64 ": %" PRIu64
                   " too few; memory peaks in step %" PRIu32 ", node '%s' (%s)",
                   name, plan->bytes, ram_budget, plan->bytes - ram_budget, program->peak_step,
                   ei_printable(ei_model_string(model, peak->name), &(ei_text){0}),
                   ei_op_find(peak->op)->name);
}

/// Copies the caller's options, which may be of an older header; members that it lacks are zero.
static ei_status read_options(const ei_session_options *given, ei_session_options *options) {
    if (given == NULL) {
        return EI_OK;
    }
    const size_t bytes = given->struct_bytes;
    if (bytes < EI_FIRST_OPTIONS_BYTES) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "options: struct_bytes is %zu, must be sizeof(ei_session_options), %zu",
                       bytes, sizeof *options);
    }
    if (bytes > sizeof *options) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "options: struct_bytes is %zu, this library knows %zu: it is older than the "
                       "edgeinfer.h that the program was compiled with, or struct_bytes is not set",
                       bytes, sizeof *options);
    }
    memcpy(options, given, bytes);
    return EI_OK;
}

/// EDGEINFER_PART_WORK, for tests: threads share steps that are far too small to be worth it.
static ei_status read_part_work(uint64_t *part_work) {
    const char *text = getenv(EI_PART_WORK_VARIABLE);
    uint64_t value = 0;
    for (const char *c = text; c != NULL && *c != 0; c++) {
        if (*c < '0' || *c > '9' || value > UINT32_MAX) {
            return ei_fail(EI_ERROR_ARGUMENT, "%s is '%s', must be a number below 2**32",
                           EI_PART_WORK_VARIABLE, ei_printable(text, &(ei_text){0}));
        }
        value = value * 10 + (uint64_t)(*c - '0');
    }
    *part_work = value;
    return EI_OK;
}

static ei_status check_options(const ei_model *model, uint32_t program,
                               const ei_session_options *options, ei_session_plan *plan) {
    if (model == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "model is NULL");
    }
    if (program >= model->program_count) {
        return ei_fail(EI_ERROR_ARGUMENT, "program is %" PRIu32 ", the model has %" PRIu32, program,
                       model->program_count);
    }
    ei_session_options asked = {0};
    EI_TRY(read_options(options, &asked));
    if (asked.threads > EI_MAX_THREADS) {
        return ei_fail(EI_ERROR_ARGUMENT, "options: threads is %" PRIu32 ", must be at most %d",
                       asked.threads, EI_MAX_THREADS);
    }
    plan->threads = asked.threads == 0 ? 1 : asked.threads;
    EI_TRY(
        ei_placement_make(asked.cpus, asked.cpu_count, asked.performance_cores, &plan->placement));
    EI_TRY(read_part_work(&plan->part_work));
    plan->program = &model->programs[program];
    if (asked.tier != NULL) {
        EI_TRY(find_tier(asked.tier, "options: tier", &plan->kernels));
    } else {
        EI_TRY(find_default_tier(&plan->kernels));
    }
    plan->bytes = plan->program->session_bytes; // far from overflow: the validator saw to it
    plan->bytes += (uint64_t)(plan->threads - 1) * EI_SESSION_THREAD_BYTES;
    if (plan->bytes > SIZE_MAX / 2) {
        return ei_fail(EI_ERROR_MEMORY,
                       "a session needs %" PRIu64 " bytes, more than can be addressed",
                       plan->bytes);
    }
    return check_budget(model, plan, asked.ram_budget);
}

ei_status ei_session_size(const ei_model *model, uint32_t program,
                          const ei_session_options *options, size_t *bytes) {
    ei_session_plan plan = {0};
    if (bytes == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "bytes is NULL");
    }
    EI_TRY(check_options(model, program, options, &plan));
    *bytes = (size_t)plan.bytes; // check_options saw that it fits
    return EI_OK;
}

ei_status ei_session_init(const ei_model *model, uint32_t program,
                          const ei_session_options *options, void *memory, size_t bytes,
                          ei_session **session) {
    ei_session_plan plan = {0};
    if (memory == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "memory is NULL");
    }
    if (session == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "session is NULL");
    }
    EI_TRY(check_options(model, program, options, &plan));
    return ei_session_bind(model, &plan, memory, bytes, session);
}

uint32_t ei_session_threads(const ei_session *session) {
    return session == NULL || session->pool == NULL ? 1 : session->threads;
}

void ei_session_close(ei_session *session) {
    if (session != NULL) {
        ei_session_unbind(session);
    }
}

ei_status ei_session_run(ei_session *session, const void *const *inputs, void *const *outputs) {
    if (session == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "session is NULL");
    }
    EI_TRY(ei_session_rebind(session, inputs, outputs));
    session->feeding = EI_FEEDING_NONE; // its memory is this run's
    return ei_session_walk(session);
}

ei_status ei_session_begin(ei_session *session, void *const *outputs) {
    if (session == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "session is NULL");
    }
    return ei_session_start_feeding(session, outputs);
}

ei_status ei_session_feed(ei_session *session, uint32_t index, const void *rows, uint32_t row_count,
                          uint32_t *taken) {
    if (session == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "session is NULL");
    }
    if (taken == NULL || (rows == NULL && row_count != 0)) {
        return ei_fail(EI_ERROR_ARGUMENT, "%s is NULL", taken == NULL ? "taken" : "rows");
    }
    if (index >= session->program->input_count) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "index is %" PRIu32 ", the program has %" PRIu32 " inputs", index,
                       session->program->input_count);
    }
    const uint64_t bytes = (uint64_t)row_count * ei_session_io(session, index)->row_bytes;
    const uintptr_t own = (uintptr_t)session;
    const uintptr_t begin = (uintptr_t)rows;
    if (row_count != 0 && begin < own + session->bytes && own < begin + bytes) {
        return ei_fail(EI_ERROR_ARGUMENT, "rows overlap the session's memory");
    }
    return ei_session_take_rows(session, index, rows, row_count, taken);
}

uint32_t ei_session_rows_left(const ei_session *session, uint32_t index) {
    if (session == NULL || index >= session->program->input_count) {
        return 0;
    }
    return ei_session_untaken_rows(session, index);
}

uint32_t ei_session_next_input(const ei_session *session) {
    return session == NULL ? 0 : ei_session_awaited_input(session);
}

void *ei_session_input(ei_session *session, uint32_t index) {
    if (session == NULL || index >= session->program->input_count) {
        return NULL;
    }
    const ei_tensor_record *tensor = ei_session_io(session, index);
    if (tensor->ring_rows != tensor->rows) {
        ei_fail(EI_ERROR_ARGUMENT,
                "input %" PRIu32 ": the session holds %" PRIu32 " of its %" PRIu32
                " rows: give ei_session_run an array, or feed it by rows (ei_session_feed)",
                index, tensor->ring_rows, tensor->rows);
        return NULL;
    }
    return ei_session_io_memory(session, index);
}

const void *ei_session_output(ei_session *session, uint32_t index) {
    if (session == NULL || index >= session->program->output_count) {
        return NULL;
    }
    return ei_session_io_memory(session, session->program->input_count + index);
}

const char *ei_session_tier(const ei_session *session) {
    return session == NULL ? NULL : session->kernels->tier;
}
