#include "model/validate.h"

#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "base/text.h"

/// Where the parts of a handle's memory lie, behind the ei_model itself.
typedef struct ei_handle_layout {
    uint64_t bindings, checks, tracks, slots, order, buffers, groups, group_programs, nodes;
    uint64_t bytes;
} ei_handle_layout;

static ei_handle_layout handle_layout(const ei_model *model, int *overflow) {
    ei_handle_layout at;
    uint64_t end = ei_size_align(sizeof(ei_model), 8, overflow);
#define EI_PART(part, count, type)                                                                 \
    at.part = end;                                                                                 \
    end = ei_size_add(end, ei_size_mul(count, sizeof(type), overflow), overflow);                  \
    end = ei_size_align(end, 8, overflow)
    EI_PART(bindings, model->buffer_count, ei_buffer_binding);
    EI_PART(checks, 1, ei_validation);
    EI_PART(tracks, model->tensor_count, ei_tensor_track);
    EI_PART(slots, model->tensor_count, ei_slot);
    EI_PART(order, model->tensor_count, uint32_t);
    EI_PART(buffers, model->buffer_count, ei_buffer_track);
    EI_PART(groups, model->tensor_count, uint32_t);
    EI_PART(group_programs, model->tensor_count, uint32_t);
    EI_PART(nodes, model->node_count, uint8_t);
#undef EI_PART
    at.bytes = end;
    return at;
}

static ei_status check_handle_size(const ei_model *model, ei_handle_layout *layout) {
    int overflow = 0;
    *layout = handle_layout(model, &overflow);
    if (overflow || layout->bytes > SIZE_MAX) {
        return ei_fail(EI_ERROR_MEMORY,
                       "the model's handle needs more memory than can be addressed");
    }
    return EI_OK;
}

ei_status ei_validate_size(const void *data, size_t bytes, size_t *memory_bytes) {
    ei_model found = {0};
    ei_handle_layout layout;
    EI_TRY(ei_check_sections(data, bytes, &found));
    EI_TRY(check_handle_size(&found, &layout));
    *memory_bytes = (size_t)layout.bytes;
    return EI_OK;
}

static ei_status check_program(const ei_model *model, const ei_program_record *program) {
    ei_node_totals totals = {0};
    EI_TRY(ei_check_buffers(model, program));
    EI_TRY(ei_check_program_tensors(model, program));
    EI_TRY(ei_check_io(model, program));
    EI_TRY(ei_check_nodes(model, program, &totals));
    EI_TRY(ei_check_promises(program, &totals));
    return ei_check_steps(model, program);
}

ei_status ei_validate(const void *data, size_t bytes, void *memory, size_t memory_bytes,
                      ei_model **model) {
    ei_model found = {0};
    ei_handle_layout layout;
    EI_TRY(ei_check_sections(data, bytes, &found));
    EI_TRY(check_handle_size(&found, &layout));
    if (memory_bytes < layout.bytes) {
        return ei_fail(EI_ERROR_MEMORY, "memory_bytes is %zu, the model's handle needs %" PRIu64,
                       memory_bytes, layout.bytes);
    }
    uint8_t *base = memory;
    memset(base, 0, (size_t)layout.bytes);
    found.bindings = (ei_buffer_binding *)(base + layout.bindings);
    found.checks = (ei_validation *)(base + layout.checks);
    found.checks->contents.tracks = (ei_tensor_track *)(base + layout.tracks);
    found.checks->contents.slots = (ei_slot *)(base + layout.slots);
    found.checks->contents.order = (uint32_t *)(base + layout.order);
    found.checks->contents.buffers = (ei_buffer_track *)(base + layout.buffers);
    found.checks->constant_group = (uint32_t *)(base + layout.groups);
    found.checks->group_program = (uint32_t *)(base + layout.group_programs);
    found.checks->node_overlaps = base + layout.nodes;

    EI_TRY(ei_check_section_checksums(data));
    EI_TRY(ei_check_strings(&found));
    EI_TRY(ei_check_tensors(&found));
    ei_group_constants(&found);
    EI_TRY(ei_check_program_ranges(&found));
    for (uint32_t i = 0; i < found.program_count; i++) {
        const ei_status status = check_program(&found, &found.programs[i]);
        if (status != EI_OK) {
            return ei_fail_in(
                status, "program '%s'",
                ei_printable(ei_model_string(&found, found.programs[i].name), &(ei_text){0}));
        }
    }
    *(ei_model *)memory = found;
    *model = memory;
    return EI_OK;
}
