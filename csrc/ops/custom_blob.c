#include "ops/custom_blob.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"

int ei_custom_name_is_good(const char *name) {
    size_t length = 0;
    while (length < EI_CUSTOM_NAME_BYTES && name[length] > ' ' && name[length] < 0x7f) {
        length++;
    }
    return length > 0 && length < EI_CUSTOM_NAME_BYTES && name[length] == 0;
}

/// Whether text begins, ends inside its field, and is followed by zeros only.
static int is_padded(const char *text, size_t field) {
    size_t i = 0;
    while (i < field && text[i] != 0) {
        i++;
    }
    const int good = i > 0 && i < field;
    while (i < field && text[i] == 0) {
        i++;
    }
    return good && i == field;
}

static size_t value_bytes(uint32_t kind) {
    return kind == EI_CUSTOM_TEXT ? 1 : sizeof(int64_t);
}

static ei_status check_attribute(const uint8_t *blob, size_t bytes, const ei_custom_attribute *a) {
    if (!is_padded(a->name, sizeof a->name)) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "its name must have 1 to 31 characters, padded with zeros");
    }
    if (a->kind < EI_CUSTOM_INTS || a->kind > EI_CUSTOM_TEXT || a->reserved != 0) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "kind is %" PRIu32 " and reserved %" PRIu32 ", must be 1 to 3 and 0",
                       a->kind, a->reserved);
    }
    // A count and an offset of 32 bits are far from an overflow of 64.
    const uint64_t size = (uint64_t)a->count * value_bytes(a->kind);
    if (a->offset % 8 != 0 || !ei_size_inside(a->offset, size, bytes)) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "%" PRIu64 " bytes at offset %" PRIu32
                       " must lie at a multiple of 8 inside the blob, %zu bytes",
                       size, a->offset, bytes);
    }
    if (a->kind == EI_CUSTOM_TEXT && (a->count == 0 || blob[a->offset + a->count - 1] != 0)) {
        return ei_fail(EI_ERROR_OPERATOR, "its text must end in a zero byte");
    }
    return EI_OK;
}

ei_status ei_custom_blob_check(const uint8_t *blob, size_t bytes) {
    const ei_custom_head *head = (const ei_custom_head *)(const void *)blob;
    if (bytes < sizeof *head) {
        return ei_fail(EI_ERROR_OPERATOR, "blob: has %zu bytes, must have at least %zu", bytes,
                       sizeof *head);
    }
    if (!is_padded(head->name, sizeof head->name) || !ei_custom_name_is_good(head->name)) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "blob: the operator's name must have 1 to %d printable ASCII characters "
                       "without a space, padded with zeros",
                       EI_CUSTOM_NAME_BYTES - 1);
    }
    const uint32_t count = head->attribute_count;
    if (count > EI_CUSTOM_MAX_ATTRIBUTES || head->reserved != 0 ||
        !ei_size_inside(sizeof *head, (uint64_t)count * sizeof(ei_custom_attribute), bytes)) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "blob: %" PRIu32 " attributes, must be at most %d and inside %zu bytes; "
                       "reserved must be 0",
                       count, EI_CUSTOM_MAX_ATTRIBUTES, bytes);
    }
    const ei_custom_attribute *attributes = (const ei_custom_attribute *)(const void *)(head + 1);
    for (uint32_t i = 0; i < count; i++) {
        const ei_status status = check_attribute(blob, bytes, &attributes[i]);
        if (status != EI_OK) {
            return ei_fail_in(status, "blob: attribute %" PRIu32, i);
        }
    }
    return EI_OK;
}

const ei_custom_attribute *ei_custom_attribute_find(const void *blob, const char *name,
                                                    uint32_t kind) {
    const ei_custom_head *head = blob;
    const ei_custom_attribute *attributes = (const ei_custom_attribute *)(head + 1);
    for (uint32_t i = 0; i < head->attribute_count; i++) {
        if (attributes[i].kind == kind && strcmp(attributes[i].name, name) == 0) {
            return &attributes[i];
        }
    }
    return NULL;
}
