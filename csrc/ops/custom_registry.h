/// The custom operators of the process, by name.
#ifndef EI_OPS_CUSTOM_REGISTRY_H
#define EI_OPS_CUSTOM_REGISTRY_H

#include "edgeinfer.h"

/// Adds a copy. Fails when the name is taken; the arguments are good.
ei_status ei_custom_registry_add(const char *name, const ei_custom_op *op);
/// 1 when it was there. Who has found it before keeps a valid pointer.
int ei_custom_registry_remove(const char *name);
/// The operator of that name, valid for good, or NULL.
const ei_custom_op *ei_custom_registry_find(const char *name);

#endif
