// Argument checks in front of model/.
#include <inttypes.h>
#include <stddef.h>

#include "base/error.h"
#include "edgeinfer.h"
#include "model/model.h"
#include "model/validate.h"
#include "ops/op.h"

#define EI_DATA_ALIGNMENT   16
#define EI_HANDLE_ALIGNMENT 8

static ei_status fail_null(const char *what) {
    return ei_fail(EI_ERROR_ARGUMENT, "%s is NULL", what);
}

static ei_status check_alignment(const void *address, const char *what, uintptr_t alignment) {
    if ((uintptr_t)address % alignment != 0) {
        return ei_fail(EI_ERROR_ARGUMENT, "%s is not aligned to %d bytes", what, (int)alignment);
    }
    return EI_OK;
}

static ei_status check_program(const ei_model *model, uint32_t program) {
    if (model == NULL) {
        return fail_null("model");
    }
    if (program >= model->program_count) {
        return ei_fail(EI_ERROR_ARGUMENT, "program is %" PRIu32 ", the model has %" PRIu32, program,
                       model->program_count);
    }
    return EI_OK;
}

const char *ei_version(void) {
    return EI_VERSION;
}

ei_status ei_model_open(const char *path, ei_model **model) {
    if (path == NULL) {
        return fail_null("path");
    }
    if (model == NULL) {
        return fail_null("model");
    }
    return ei_model_map(path, model);
}

ei_status ei_model_size(const void *data, size_t bytes, size_t *memory_bytes) {
    if (data == NULL) {
        return fail_null("data");
    }
    if (memory_bytes == NULL) {
        return fail_null("memory_bytes");
    }
    EI_TRY(check_alignment(data, "data", EI_DATA_ALIGNMENT));
    return ei_validate_size(data, bytes, memory_bytes);
}

ei_status ei_model_init(const void *data, size_t bytes, void *memory, size_t memory_bytes,
                        ei_model **model) {
    if (data == NULL) {
        return fail_null("data");
    }
    if (memory == NULL) {
        return fail_null("memory");
    }
    if (model == NULL) {
        return fail_null("model");
    }
    EI_TRY(check_alignment(data, "data", EI_DATA_ALIGNMENT));
    EI_TRY(check_alignment(memory, "memory", EI_HANDLE_ALIGNMENT));
    return ei_validate(data, bytes, memory, memory_bytes, model);
}

void ei_model_close(ei_model *model) {
    if (model != NULL) {
        ei_model_unmap(model);
    }
}

uint32_t ei_model_program_count(const ei_model *model) {
    return model == NULL ? 0 : model->program_count;
}

const char *ei_model_program_name(const ei_model *model, uint32_t program) {
    if (model == NULL || program >= model->program_count) {
        return NULL;
    }
    return ei_model_string(model, model->programs[program].name);
}

uint32_t ei_model_input_count(const ei_model *model, uint32_t program) {
    return model == NULL || program >= model->program_count ? 0
                                                            : model->programs[program].input_count;
}

uint32_t ei_model_output_count(const ei_model *model, uint32_t program) {
    return model == NULL || program >= model->program_count ? 0
                                                            : model->programs[program].output_count;
}

static ei_tensor_info describe(const ei_model *model, uint32_t operand) {
    const ei_tensor_record *tensor = &model->tensors[model->operands[operand]];
    return (ei_tensor_info){
        .name = ei_model_string(model, tensor->name),
        .dtype = (ei_dtype)tensor->dtype,
        .rank = tensor->rank,
        .shape = tensor->dims,
        .bytes = ei_tensor_dense_bytes(tensor),
        .scale = tensor->scale,
        .zero_point = tensor->zero_point,
    };
}

static ei_status check_input(const ei_model *model, uint32_t program, uint32_t index) {
    EI_TRY(check_program(model, program));
    const uint32_t count = model->programs[program].input_count;
    if (index >= count) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "index is %" PRIu32 ", the program has %" PRIu32 " inputs", index, count);
    }
    return EI_OK;
}

ei_status ei_model_input_rows(const ei_model *model, uint32_t program, uint32_t index,
                              ei_input_rows *rows) {
    if (rows == NULL) {
        return fail_null("rows");
    }
    EI_TRY(check_input(model, program, index));
    const uint32_t operand = model->programs[program].first_input + index;
    const ei_tensor_record *tensor = &model->tensors[model->operands[operand]];
    *rows = (ei_input_rows){tensor->rows, tensor->ring_rows, tensor->row_bytes};
    return EI_OK;
}

ei_status ei_model_input(const ei_model *model, uint32_t program, uint32_t index,
                         ei_tensor_info *info) {
    if (info == NULL) {
        return fail_null("info");
    }
    EI_TRY(check_input(model, program, index));
    const ei_program_record *record = &model->programs[program];
    *info = describe(model, record->first_input + index);
    return EI_OK;
}

ei_status ei_model_output(const ei_model *model, uint32_t program, uint32_t index,
                          ei_tensor_info *info) {
    EI_TRY(check_program(model, program));
    if (info == NULL) {
        return fail_null("info");
    }
    const ei_program_record *record = &model->programs[program];
    if (index >= record->output_count) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "index is %" PRIu32 ", the program has %" PRIu32 " outputs", index,
                       record->output_count);
    }
    *info = describe(model, record->first_output + index);
    return EI_OK;
}

ei_status ei_model_metadata(const ei_model *model, const char **json, size_t *bytes) {
    if (model == NULL) {
        return fail_null("model");
    }
    if (json == NULL) {
        return fail_null("json");
    }
    if (bytes == NULL) {
        return fail_null("bytes");
    }
    *json = model->metadata;
    *bytes = model->metadata_bytes;
    return EI_OK;
}

ei_status ei_model_data(const ei_model *model, const void **data, size_t *bytes) {
    if (model == NULL) {
        return fail_null("model");
    }
    if (data == NULL) {
        return fail_null("data");
    }
    if (bytes == NULL) {
        return fail_null("bytes");
    }
    *data = model->data;
    *bytes = model->bytes;
    return EI_OK;
}

ei_status ei_model_plan(const ei_model *model, uint32_t program, ei_plan_info *info) {
    EI_TRY(check_program(model, program));
    if (info == NULL) {
        return fail_null("info");
    }
    const ei_program_record *record = &model->programs[program];
    const ei_node_record *peak = ei_program_peak_node(model, record);
    *info = (ei_plan_info){
        .arena_bytes = record->arena_bytes,
        .state_bytes = record->state_bytes,
        .session_bytes = record->session_bytes,
        .weights_bytes = record->weights_bytes,
        .step_count = record->step_count,
        .peak_step = record->peak_step,
        .peak_node = ei_model_string(model, peak->name),
        .peak_operator = ei_op_find(peak->op)->name,
    };
    return EI_OK;
}
