// Header and section table. Sections lie in the order of the table, each right behind the one before
// but for zeros up to the next multiple of 64, and the file ends with the last: every byte of a file
// is a section's, covered by its checksum, or has one legal value.
#include "model/validate.h"

#include <inttypes.h>
#include <string.h>

#include "base/crc32.h"
#include "base/size.h"

typedef struct ei_section_kind {
    const char *name;
    uint32_t record_bytes; // 0: a section of bytes
} ei_section_kind;

static const ei_section_kind kinds[] = {
    [EI_SECTION_PROGRAMS] = {"programs", sizeof(ei_program_record)},
    [EI_SECTION_BUFFERS] = {"buffers", sizeof(ei_buffer_record)},
    [EI_SECTION_TENSORS] = {"tensors", sizeof(ei_tensor_record)},
    [EI_SECTION_NODES] = {"nodes", sizeof(ei_node_record)},
    [EI_SECTION_OPERANDS] = {"operands", sizeof(uint32_t)},
    [EI_SECTION_STEPS] = {"steps", sizeof(ei_step_record)},
    [EI_SECTION_PARAMS] = {"params", 0},
    [EI_SECTION_CONSTANTS] = {"constants", 0},
    [EI_SECTION_STRINGS] = {"strings", 0},
    [EI_SECTION_METADATA] = {"metadata", 0},
};

#define EI_KIND_COUNT (sizeof kinds / sizeof kinds[0])

static int is_known(uint32_t type) {
    return type < EI_KIND_COUNT && kinds[type].name != NULL;
}

static const char *section_name(uint32_t type) {
    return is_known(type) ? kinds[type].name : "optional";
}

static int all_zero(const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0) {
            return 0;
        }
    }
    return 1;
}

static const ei_section_record *section_table(const uint8_t *data) {
    return (const ei_section_record *)(data + sizeof(ei_header_record));
}

static const void *section_start(const uint8_t *data, const ei_section_record *section) {
    return data + section->offset;
}

static size_t table_end(const ei_header_record *header) {
    return sizeof(ei_header_record) + header->section_count * sizeof(ei_section_record);
}

static ei_status check_header(const uint8_t *data, size_t bytes) {
    const size_t magic_bytes = sizeof(EI_FORMAT_MAGIC) - 1;
    const size_t compared = bytes < magic_bytes ? bytes : magic_bytes;
    if (memcmp(data, EI_FORMAT_MAGIC, compared) != 0 || bytes == 0) {
        return ei_fail(EI_ERROR_FORMAT,
                       "header: not an .edge file: it does not start with EDGEINF");
    }
    if (bytes < sizeof(ei_header_record)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "header: the file has %zu bytes, fewer than the 64 of its header: truncated",
                       bytes);
    }
    const ei_header_record *header = (const ei_header_record *)data;
    if (header->major != EI_FORMAT_MAJOR) {
        return ei_fail(
            EI_ERROR_VERSION,
            "header: format version is %d.%d, this library reads %d.x: convert the model "
            "again, or update the library",
            header->major, header->minor, EI_FORMAT_MAJOR);
    }
    if (header->section_count == 0 || header->section_count > EI_MAX_SECTIONS) {
        return ei_fail(EI_ERROR_FORMAT,
                       "header: section_count is %" PRIu32 ", must be from 1 to %d",
                       header->section_count, EI_MAX_SECTIONS);
    }
    if (header->file_bytes != bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "header: file_bytes is %" PRIu64 ", the file has %zu bytes: %s",
                       header->file_bytes, bytes,
                       header->file_bytes > bytes ? "truncated" : "something was appended");
    }
    if (table_end(header) > bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "header: section_count is %" PRIu32 ", the file of %zu bytes ends before "
                       "the section table does",
                       header->section_count, bytes);
    }
    ei_header_record without = *header;
    without.checksum = 0;
    uint32_t checksum = ei_crc32(0, &without, sizeof without);
    checksum = ei_crc32(checksum, section_table(data), table_end(header) - sizeof without);
    if (checksum != header->checksum) {
        return ei_fail(EI_ERROR_CHECKSUM,
                       "header: checksum is 0x%08" PRIx32
                       ", header and section table give 0x%08" PRIx32,
                       header->checksum, checksum);
    }
    if (header->flags != 0) {
        return ei_fail(EI_ERROR_FORMAT, "header: flags is 0x%" PRIx32 ", must be 0", header->flags);
    }
    if (!all_zero(header->reserved, sizeof header->reserved)) {
        return ei_fail(EI_ERROR_FORMAT, "header: reserved bytes must be 0");
    }
    return EI_OK;
}

static ei_status check_records(const ei_section_record *section) {
    const uint32_t record_bytes = kinds[section->type].record_bytes;
    if (section->record_bytes != record_bytes) {
        return ei_fail(EI_ERROR_FORMAT, "record_bytes is %" PRIu32 ", must be %" PRIu32,
                       section->record_bytes, record_bytes);
    }
    // Both factors have 32 bits; a section of bytes has 0 records of 0 bytes.
    const uint64_t expected = (uint64_t)section->count * record_bytes;
    if (record_bytes == 0 ? section->count != 0 : expected != section->bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "count is %" PRIu32 " of %" PRIu32 " bytes each, the section has %" PRIu64
                       " bytes",
                       section->count, record_bytes, section->bytes);
    }
    return EI_OK;
}

/// Type, place and counts of section `index`; `end` is where the one before ends.
static ei_status check_section(const uint8_t *data, size_t bytes, uint32_t index, uint64_t end) {
    const ei_section_record *table = section_table(data);
    const ei_section_record *section = &table[index];
    if (!is_known(section->type) && section->type < EI_SECTION_OPTIONAL) {
        return ei_fail(EI_ERROR_FORMAT,
                       "type is %" PRIu32 ", which this library does not know: update the library",
                       section->type);
    }
    for (uint32_t i = 0; i < index; i++) {
        if (table[i].type == section->type) {
            return ei_fail(EI_ERROR_FORMAT, "the same type as section %" PRIu32, i);
        }
    }
    if (section->offset % EI_SECTION_ALIGNMENT != 0) {
        return ei_fail(EI_ERROR_FORMAT, "offset is %" PRIu64 ", must be a multiple of %d",
                       section->offset, EI_SECTION_ALIGNMENT);
    }
    if (section->offset < end) {
        return ei_fail(EI_ERROR_FORMAT, "offset is %" PRIu64 ", overlaps what ends at %" PRIu64,
                       section->offset, end);
    }
    if (!ei_size_inside(section->offset, section->bytes, bytes)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "%" PRIu64 " bytes at offset %" PRIu64 " go past the end of the file, %zu",
                       section->bytes, section->offset, bytes);
    }
    const size_t gap = (size_t)(section->offset - end);
    if (gap >= EI_SECTION_ALIGNMENT || !all_zero(data + end, gap)) {
        return ei_fail(EI_ERROR_FORMAT,
                       "offset is %" PRIu64 ": only zeros up to the next multiple of %d may lie "
                       "between it and %" PRIu64,
                       section->offset, EI_SECTION_ALIGNMENT, end);
    }
    return is_known(section->type) ? check_records(section) : EI_OK;
}

ei_status ei_check_sections(const uint8_t *data, size_t bytes, ei_model *model) {
    EI_TRY(check_header(data, bytes));
    const ei_header_record *header = (const ei_header_record *)data;
    const ei_section_record *table = section_table(data);
    const ei_section_record *found[EI_KIND_COUNT] = {NULL};
    uint64_t end = table_end(header);
    for (uint32_t i = 0; i < header->section_count; i++) {
        const ei_status status = check_section(data, bytes, i, end);
        if (status != EI_OK) {
            return ei_fail_in(status, "section %" PRIu32 " (%s)", i, section_name(table[i].type));
        }
        end = table[i].offset + table[i].bytes;
        if (is_known(table[i].type)) {
            found[table[i].type] = &table[i];
        }
    }
    if (end != bytes) {
        return ei_fail(EI_ERROR_FORMAT,
                       "header: file_bytes is %zu, the last section ends at %" PRIu64, bytes, end);
    }
    for (uint32_t type = 0; type < EI_KIND_COUNT; type++) {
        if (is_known(type) && found[type] == NULL) {
            return ei_fail(EI_ERROR_FORMAT, "header: there is no section of type %" PRIu32 " (%s)",
                           type, section_name(type));
        }
    }
    model->data = data;
    model->bytes = bytes;
    model->programs = section_start(data, found[EI_SECTION_PROGRAMS]);
    model->buffers = section_start(data, found[EI_SECTION_BUFFERS]);
    model->tensors = section_start(data, found[EI_SECTION_TENSORS]);
    model->nodes = section_start(data, found[EI_SECTION_NODES]);
    model->operands = section_start(data, found[EI_SECTION_OPERANDS]);
    model->steps = section_start(data, found[EI_SECTION_STEPS]);
    model->params = section_start(data, found[EI_SECTION_PARAMS]);
    model->constants = section_start(data, found[EI_SECTION_CONSTANTS]);
    model->strings = section_start(data, found[EI_SECTION_STRINGS]);
    model->metadata = section_start(data, found[EI_SECTION_METADATA]);
    model->program_count = found[EI_SECTION_PROGRAMS]->count;
    model->buffer_count = found[EI_SECTION_BUFFERS]->count;
    model->tensor_count = found[EI_SECTION_TENSORS]->count;
    model->node_count = found[EI_SECTION_NODES]->count;
    model->operand_count = found[EI_SECTION_OPERANDS]->count;
    model->step_count = found[EI_SECTION_STEPS]->count;
    model->params_bytes = (size_t)found[EI_SECTION_PARAMS]->bytes;
    model->constants_bytes = (size_t)found[EI_SECTION_CONSTANTS]->bytes;
    model->strings_bytes = (size_t)found[EI_SECTION_STRINGS]->bytes;
    model->metadata_bytes = (size_t)found[EI_SECTION_METADATA]->bytes;
    return EI_OK;
}

ei_status ei_check_section_checksums(const uint8_t *data) {
    const ei_header_record *header = (const ei_header_record *)data;
    for (uint32_t i = 0; i < header->section_count; i++) {
        const ei_section_record *section = &section_table(data)[i];
        const uint32_t checksum = ei_crc32(0, data + section->offset, (size_t)section->bytes);
        if (checksum != section->checksum) {
            return ei_fail(EI_ERROR_CHECKSUM,
                           "section %" PRIu32 " (%s): checksum is 0x%08" PRIx32
                           ", its bytes give 0x%08" PRIx32,
                           i, section_name(section->type), section->checksum, checksum);
        }
    }
    return EI_OK;
}
