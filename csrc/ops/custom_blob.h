/// How a file names a custom operator and its attributes: the first operand of `custom`, a constant of bytes.
///
///     ei_custom_head, then attribute_count times ei_custom_attribute, then values
///
/// Values lie at multiples of 8 from the start, inside the blob. Names are padded with zeros.
#ifndef EI_OPS_CUSTOM_BLOB_H
#define EI_OPS_CUSTOM_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "edgeinfer.h"

#define EI_CUSTOM_MAX_ATTRIBUTES  64
#define EI_CUSTOM_ATTRIBUTE_BYTES 32 // of an attribute's name, the zero at its end included

enum ei_custom_kind {
    EI_CUSTOM_INTS = 1,   // int64
    EI_CUSTOM_FLOATS = 2, // float64
    EI_CUSTOM_TEXT = 3    // bytes, the last of them zero
};

typedef struct ei_custom_head {
    char name[EI_CUSTOM_NAME_BYTES];
    uint32_t attribute_count, reserved;
} ei_custom_head;

typedef struct ei_custom_attribute {
    char name[EI_CUSTOM_ATTRIBUTE_BYTES];
    uint32_t kind, count; // values; bytes of text
    uint32_t offset;      // from the start of the blob
    uint32_t reserved;
} ei_custom_attribute;

_Static_assert(sizeof(ei_custom_head) == 72, "on-disk size");
_Static_assert(sizeof(ei_custom_attribute) == 48, "on-disk size");
_Static_assert(offsetof(ei_custom_tensor, shape) == 8, "documented layout");
_Static_assert(sizeof(ei_custom_tensor) == 72, "documented layout");

/// Whether a name is made of 1 to 63 printable characters without a space.
int ei_custom_name_is_good(const char *name);

/// Everything about the blob; afterwards names end in zeros and values lie inside.
ei_status ei_custom_blob_check(const uint8_t *blob, size_t bytes);

/// An attribute of a checked blob by name and kind, or NULL.
const ei_custom_attribute *ei_custom_attribute_find(const void *blob, const char *name,
                                                    uint32_t kind);

#endif
