// Argument checks in front of the registry of custom operators, and their attributes.
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "edgeinfer.h"
#include "ops/custom_blob.h"
#include "ops/custom_registry.h"

static ei_status check_name(const char *name) {
    if (name == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "name is NULL");
    }
    if (!ei_custom_name_is_good(name)) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "name is '%s', must have 1 to %d printable ASCII characters without a space",
                       ei_printable(name, &(ei_text){0}), EI_CUSTOM_NAME_BYTES - 1);
    }
    return EI_OK;
}

ei_status ei_custom_op_register(const char *name, const ei_custom_op *op) {
    EI_TRY(check_name(name));
    if (op == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "op is NULL");
    }
    if (op->struct_bytes != sizeof *op) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "op: struct_bytes is %zu, must be sizeof(ei_custom_op), %zu",
                       op->struct_bytes, sizeof *op);
    }
    if (op->check == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT,
                       "op: check is NULL; nothing else holds a file to what run() relies on");
    }
    if (op->run == NULL) {
        return ei_fail(EI_ERROR_ARGUMENT, "op: run is NULL");
    }
    return ei_custom_registry_add(name, op);
}

ei_status ei_custom_op_unregister(const char *name) {
    EI_TRY(check_name(name));
    if (!ei_custom_registry_remove(name)) {
        return ei_fail(EI_ERROR_ARGUMENT, "no custom operator '%s' is registered", name);
    }
    return EI_OK;
}

int ei_custom_op_registered(const char *name) {
    return name != NULL && ei_custom_name_is_good(name) && ei_custom_registry_find(name) != NULL;
}

static const void *find(const ei_custom_call *call, const char *name, uint32_t kind,
                        size_t *count) {
    if (call == NULL || name == NULL) {
        return NULL;
    }
    const ei_custom_attribute *found = ei_custom_attribute_find(call->attributes, name, kind);
    if (found == NULL) {
        return NULL;
    }
    if (count != NULL) {
        *count = found->count;
    }
    return (const uint8_t *)call->attributes + found->offset;
}

const int64_t *ei_custom_ints(const ei_custom_call *call, const char *name, size_t *count) {
    return find(call, name, EI_CUSTOM_INTS, count);
}

const double *ei_custom_floats(const ei_custom_call *call, const char *name, size_t *count) {
    return find(call, name, EI_CUSTOM_FLOATS, count);
}

const char *ei_custom_text(const ei_custom_call *call, const char *name) {
    return find(call, name, EI_CUSTOM_TEXT, NULL);
}
