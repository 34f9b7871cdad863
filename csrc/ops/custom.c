// An operator whose code is the process's. The file names it; everything that comes from the file is checked when it is
// opened, everything that the code needs to be so is checked by the code itself, when a session is made.
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "ops/check.h"
#include "ops/custom_blob.h"
#include "ops/custom_registry.h"

static ei_status check_operand(const ei_tensor_record *tensor, const char *what) {
    EI_TRY(ei_check_dtype(tensor, what, EI_DTYPES_ANY));
    return ei_check_whole(tensor, what);
}

static ei_status check(const ei_node *node) {
    const ei_custom_params *p = node->params;
    const ei_tensor_record *blob = ei_node_input(node, 0);
    EI_TRY(ei_check_constant(blob, "blob"));
    EI_TRY(ei_check_dtype(blob, "blob", EI_DTYPE_BIT(EI_UINT8)));
    EI_TRY(ei_custom_blob_check(ei_node_constant(node, blob), ei_tensor_bytes(blob)));
    for (uint32_t i = 1; i < node->record->input_count; i++) {
        EI_TRY(check_operand(ei_node_input(node, i), "x"));
    }
    EI_TRY(check_operand(ei_node_output(node, 0), "y"));
    return ei_check_int(p->scratch_bytes, "scratch_bytes", 0, INT32_MAX);
}

static uint64_t scratch_bytes(const ei_node *node) {
    const ei_custom_params *p = node->params;
    return (uint64_t)p->scratch_bytes;
}

/// Room for what a callback is given.
typedef struct ei_custom_frame {
    ei_custom_tensor tensors[EI_CUSTOM_MAX_INPUTS + 1];
    char message[EI_CUSTOM_MESSAGE_BYTES];
} ei_custom_frame;

static ei_custom_call call_of(const ei_bound_node *node, const ei_custom_op *op,
                              const char *node_name, uint8_t *scratch, ei_custom_frame *frame) {
    const ei_custom_params *p = node->params;
    const uint32_t inputs = node->input_count - 1u;
    for (uint32_t i = 0; i <= inputs; i++) {
        const ei_view *view = &node->views[i + 1];
        const ei_tensor_record *record = view->tensor;
        ei_custom_tensor *tensor = &frame->tensors[i];
        *tensor = (ei_custom_tensor){
            .data = view->base,
            .dtype = (ei_dtype)record->dtype,
            .rank = record->rank,
            .scale = record->scale,
            .zero_point = record->zero_point,
        };
        for (uint32_t axis = 0; axis < EI_MAX_RANK; axis++) {
            tensor->shape[axis] = record->dims[axis];
        }
    }
    frame->message[0] = 0;
    return (ei_custom_call){
        .inputs = frame->tensors,
        .outputs = frame->tensors + inputs,
        .input_count = inputs,
        .output_count = 1,
        .scratch = p->scratch_bytes == 0 ? NULL : scratch,
        .scratch_bytes = (size_t)p->scratch_bytes,
        .attributes = node->views[0].base,
        .user = op->user,
        .node = node_name,
        .message = frame->message,
    };
}

/// A callback's failure as the library's own: its status when it is one, its message or the status's sentence.
static ei_status fail_in(ei_status status, const ei_custom_call *call) {
    const ei_custom_head *head = call->attributes;
    const int known = (int)status >= EI_ERROR_ARGUMENT && status <= EI_ERROR_CUSTOM;
    call->message[EI_CUSTOM_MESSAGE_BYTES - 1] = 0;
    if (!known) {
        return ei_fail(EI_ERROR_CUSTOM, "custom operator '%s' returned %d: %s", head->name,
                       (int)status, call->message);
    }
    return ei_fail(status, "custom operator '%s': %s", head->name,
                   call->message[0] != 0 ? call->message : ei_status_text(status));
}

static ei_status bind(const ei_node *node, ei_bound_node *bound) {
    const ei_custom_head *head = (const ei_custom_head *)(const void *)bound->views[0].base;
    const ei_custom_op *op = ei_custom_registry_find(head->name);
    if (op == NULL) {
        return ei_fail(EI_ERROR_CUSTOM,
                       "no custom operator '%s' is registered in this process: register it before "
                       "a session is made (C: ei_custom_op_register; Python: edgeinfer.custom_op, "
                       "edgeinfer.register_custom_op; commands: --custom-ops FILE.py)",
                       head->name);
    }
    ei_custom_frame frame;
    ei_custom_call call = call_of(bound, op, node->name, NULL, &frame);
    for (uint32_t i = 0; i <= call.input_count; i++) {
        const ei_tensor_record *record = bound->views[i + 1].tensor;
        frame.tensors[i].data = ei_tensor_is_constant(record) ? frame.tensors[i].data : NULL;
    }
    const ei_status status = op->check(&call);
    if (status != EI_OK) {
        return fail_in(status, &call);
    }
    bound->views[0].bound = op;
    return EI_OK;
}

static ei_status run(const ei_bound_node *node, const ei_run_context *context, uint32_t begin,
                     uint32_t end) {
    (void)begin; // all rows, as whole_steps says
    (void)end;
    const ei_custom_op *op = node->views[0].bound;
    ei_custom_frame frame;
    const ei_custom_call call = call_of(node, op, "", context->scratch, &frame);
    const ei_status status = op->run(&call);
    return status == EI_OK ? EI_OK : fail_in(status, &call);
}

const ei_op ei_op_custom = {
    .name = "custom",
    .check = check,
    .scratch_bytes = scratch_bytes,
    .bind = bind,
    .run = run,
    .one_thread = 1,
    .whole_steps = 1,
};
