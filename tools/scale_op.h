/// A custom operator of float32 for the fuzzing harness and tests: "Scale", y = x * scale + offsets[i mod their number].
///
/// Its check is as strict as one has to be that meets files of strangers; run() goes through scratch memory, to show when
/// that is not there.
#ifndef SCALE_OP_H
#define SCALE_OP_H

#include <stdio.h>
#include <string.h>

#include "edgeinfer.h"

static size_t scale_op_elements(const ei_custom_tensor *tensor) {
    size_t count = 1;
    for (int32_t axis = 0; axis < tensor->rank; axis++)
        count *= (size_t)tensor->shape[axis];
    return count;
}

static ei_status scale_op_check(const ei_custom_call *call) {
    size_t count = 0;
    const ei_custom_tensor *x = &call->inputs[0], *y = &call->outputs[0];
    if (call->input_count != 1 || x->dtype != EI_FLOAT32 || y->dtype != EI_FLOAT32 ||
        x->rank != y->rank || memcmp(x->shape, y->shape, sizeof x->shape) != 0) {
        snprintf(call->message, EI_CUSTOM_MESSAGE_BYTES, "x and y must be float32 of one shape");
        return EI_ERROR_CUSTOM;
    }
    if (!ei_custom_floats(call, "scale", &count) || count != 1 ||
        !ei_custom_ints(call, "offsets", &count) || count == 0 || !ei_custom_text(call, "mode")) {
        snprintf(call->message, EI_CUSTOM_MESSAGE_BYTES, "scale, offsets or mode is missing");
        return EI_ERROR_CUSTOM;
    }
    if (call->scratch_bytes < scale_op_elements(x) * sizeof(float)) {
        snprintf(call->message, EI_CUSTOM_MESSAGE_BYTES, "scratch_bytes is %zu, too few",
                 call->scratch_bytes);
        return EI_ERROR_CUSTOM;
    }
    return EI_OK;
}

static ei_status scale_op_run(const ei_custom_call *call) {
    size_t offset_count = 0;
    const double scale = *ei_custom_floats(call, "scale", NULL);
    const int64_t *offsets = ei_custom_ints(call, "offsets", &offset_count);
    const float *x = call->inputs[0].data;
    const size_t count = scale_op_elements(&call->inputs[0]);
    float *scaled = call->scratch;
    float *y = call->outputs[0].data;
    for (size_t i = 0; i < count; i++)
        scaled[i] = x[i] * (float)scale;
    for (size_t i = 0; i < count; i++)
        y[i] = scaled[i] + (float)offsets[i % offset_count];
    return EI_OK;
}

static inline ei_status scale_op_register(void) {
    const ei_custom_op op = {sizeof op, scale_op_check, scale_op_run, NULL};
    return ei_custom_op_register("Scale", &op);
}

#endif
