#include "run/share.h"

#include <string.h>

#include "base/thread_pool.h"

/// Parts of at least this much work, in parts that are worth a thread, are made up to so many for each thread: whoever is
/// late, slower or interrupted leaves more of them to the others. Of shorter steps each thread gets one part, since every
/// part costs some work of its own (kernels prepare weights).
#define EI_LONG_PART             40
#define EI_LONG_PARTS_PER_THREAD 4

/// Reading what another core wrote costs so many times as much as reading weights, which all may keep.
#define EI_ACTIVATION_COST 8

/// A whole part in units of row_share.
#define EI_WHOLE_SHARE 0x10000u

/// How much longer a tier takes, at least, for work counted in what the fastest does.
static uint64_t slowness(const ei_kernels *kernels) {
    static const struct {
        const char *tier;
        uint64_t factor;
    } known[] = {{"scalar", 16}, {"avxvnni", 2}, {"avx512vnni", 1}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(kernels->tier, known[i].tier) == 0) {
            return known[i].factor;
        }
    }
    return 4;
}

int ei_share_nodes(ei_session *session, uint64_t part_work) {
    const ei_program_record *program = session->program;
    const ei_step_record *steps = session->model->steps + program->first_step;
    const uint64_t factor = slowness(session->kernels);
    const uint64_t part = part_work != 0 ? part_work : EI_PART_WORK;
    for (uint32_t i = 0; i < program->node_count; i++) {
        ei_bound_node *node = &session->nodes[i];
        if (node->op->one_thread || node->op->scratch_bytes != NULL) {
            continue; // scratch is the session's, one for all threads
        }
        // Beyond 2^47 a row is many parts in any case.
        const uint64_t row = ei_work_of(node).row;
        const uint64_t work = (row >> 43 != 0 ? UINT64_C(1) << 43 : row) * factor;
        const uint64_t share = work * EI_WHOLE_SHARE / part;
        node->row_share = share > UINT32_MAX ? UINT32_MAX : (uint32_t)share;
    }
    // What threads do besides the caller: work of the steps that they share.
    uint64_t shared = 0;
    for (uint32_t i = 0; i < program->step_count; i++) {
        const uint64_t rows = steps[i].row_end - steps[i].row_begin;
        const uint64_t share = rows * session->nodes[steps[i].node].row_share;
        if (share >= 2 * EI_WHOLE_SHARE) {
            shared += share / EI_WHOLE_SHARE; // of at most 2^32 steps with at most 2^47 each
        }
    }
    return part_work != 0 ? shared > 0 : shared >= EI_PROGRAM_WORK / EI_PART_WORK;
}

/// A step and how it is cut.
typedef struct ei_shared_step {
    const ei_bound_node *node;
    const ei_run_context *context;
    uint32_t begin, end; // rows
    uint32_t channels;   // of the node when it is cut by channels, else 0
    uint32_t parts;
} ei_shared_step;

/// Where part `part` of [0, count) begins: at a multiple of `unit`.
static uint32_t cut(uint32_t count, uint32_t unit, uint32_t part, uint32_t parts) {
    if (part == parts) {
        return count;
    }
    return (uint32_t)((uint64_t)((count + unit - 1) / unit) * part / parts) * unit;
}

static void run_part(const void *job, uint32_t part) {
    const ei_shared_step *step = job;
    const ei_bound_node *node = step->node;
    if (step->channels != 0) {
        ei_run_context context = *step->context;
        context.first_channel = cut(step->channels, EI_CHANNEL_UNIT, part, step->parts);
        context.end_channel = cut(step->channels, EI_CHANNEL_UNIT, part + 1, step->parts);
        node->op->run(node, &context, step->begin, step->end);
        return;
    }
    // Some kernels do two rows at once. Where there are few, even parts are worth more.
    const uint32_t rows = step->end - step->begin;
    const uint32_t unit = rows >= 16 * step->parts ? 2 : 1;
    const uint32_t begin = step->begin + cut(rows, unit, part, step->parts);
    const uint32_t end = step->begin + cut(rows, unit, part + 1, step->parts);
    node->op->run(node, step->context, begin, end); // cannot fail: the operator is not one_thread
}

/// Parts to make of so much work, and at most of so many units: as many for each thread.
static uint32_t parts_of(const ei_session *session, uint64_t shares, uint32_t units) {
    const uint64_t worth = shares / EI_WHOLE_SHARE;
    const uint32_t most = worth < units ? (uint32_t)worth : units;
    const uint32_t threads = session->threads;
    if (most < threads) {
        return most;
    }
    uint64_t each = worth / EI_LONG_PART / threads;
    each = each < 1 ? 1 : each < EI_LONG_PARTS_PER_THREAD ? each : EI_LONG_PARTS_PER_THREAD;
    while (each > 1 && each * threads > (most < EI_MAX_PARTS ? most : EI_MAX_PARTS)) {
        each--;
    }
    return (uint32_t)each * threads;
}

ei_status ei_share_run(const ei_session *session, const ei_bound_node *node,
                       const ei_run_context *context, uint32_t begin, uint32_t end) {
    const uint32_t rows = end - begin;
    const uint64_t shares = (uint64_t)rows * node->row_share;
    ei_shared_step step = {.node = node, .context = context, .begin = begin, .end = end};
    if (shares >= 2 * EI_WHOLE_SHARE) {
        // Parts by rows find in their core's cache what the step before left there, and each reads all weights; parts by
        // channels read all input.
        const ei_work work = ei_work_of(node);
        const uint32_t units = (work.channels + EI_CHANNEL_UNIT - 1) / EI_CHANNEL_UNIT;
        if (units >= 2 &&
            (rows < 2 || work.weight_bytes > EI_ACTIVATION_COST * work.input_row_bytes * rows)) {
            step.channels = work.channels;
            step.parts = parts_of(session, shares, units);
        } else {
            step.parts = parts_of(session, shares, rows);
        }
    }
    if (step.parts < 2) {
        return node->op->run(node, context, begin, end);
    }
    ei_thread_pool_run(session->pool, run_part, &step, step.parts);
    return EI_OK;
}
