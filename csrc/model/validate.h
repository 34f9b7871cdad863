/// The validator: the only code that touches unchecked bytes. Whatever the bytes, it ends with an
/// error that names the object, the value and the rule, or with a model of which every run stays
/// inside its memory and ends. docs/format.md lists the rules.
///
/// It goes from the outside in, and each part relies on those before it:
///
///     validate_sections.c  header, section table, checksums
///     validate_records.c   strings, tensors; how programs divide the records among themselves
///     validate_nodes.c     operands, parameters, the operators' own contracts
///     validate_plan.c      buffers, graph inputs and outputs, steps, promised sizes
///     contents.c           what each step reads has been written and not overwritten
///     overlap.c            the same where tensors overlap by rows
///
/// The time it takes is linear in the file, but for the comparison of buffers (EI_MAX_BUFFERS), of
/// tensors that overlap by rows (EI_MAX_COMPARISONS) and sorting.
#ifndef EI_MODEL_VALIDATE_H
#define EI_MODEL_VALIDATE_H

#include "base/error.h"
#include "model/contents.h"
#include "model/model.h"

/// Memory of the validator. It lies behind the handle: nothing else is allocated.
typedef struct ei_validation {
    ei_contents contents;
    uint32_t *constant_group; // per tensor: constants of the same bytes have the same number
    uint32_t *group_program;  // per group: the last program that read it, plus one
    uint8_t *node_overlaps;   // per node: 1 when its steps have to be asked whether what they read
                              // and what they write meet
    uint64_t scanned_bytes;   // constants that operators have looked at
    uint64_t step_work;       // spent on steps, see validate_plan.c
} ei_validation;

/// Bytes of memory for the handle of a model; checks the header and the section table.
ei_status ei_validate_size(const void *data, size_t bytes, size_t *memory_bytes);
/// Checks everything and builds the handle in `memory`.
ei_status ei_validate(const void *data, size_t bytes, void *memory, size_t memory_bytes,
                      ei_model **model);

// --- the parts, in their order

/// Fills the pointers and counts of `model`. Checksums of sections are not looked at.
ei_status ei_check_sections(const uint8_t *data, size_t bytes, ei_model *model);
ei_status ei_check_section_checksums(const uint8_t *data);
ei_status ei_check_strings(const ei_model *model);
ei_status ei_check_tensors(const ei_model *model);
/// Sorts constants into groups of the same bytes.
void ei_group_constants(const ei_model *model);
/// Ranges of every program, each within the file, together all of it, none used twice.
ei_status ei_check_program_ranges(const ei_model *model);
/// Activations of one program lie in its buffers.
ei_status ei_check_program_tensors(const ei_model *model, const ei_program_record *program);

/// What the nodes of a program need together.
typedef struct ei_node_totals {
    uint64_t operands;
    uint64_t weights_bytes; // of distinct constants
    uint64_t scratch_bytes;
} ei_node_totals;
ei_status ei_check_nodes(const ei_model *model, const ei_program_record *program,
                         ei_node_totals *totals);

/// Whether two buffers have bytes in common in a step in which both are alive.
int ei_buffers_collide(const ei_buffer_record *a, const ei_buffer_record *b);
ei_status ei_check_buffers(const ei_model *model, const ei_program_record *program);
/// Graph inputs and outputs; fills model->bindings.
ei_status ei_check_io(const ei_model *model, const ei_program_record *program);
ei_status ei_check_promises(const ei_program_record *program, const ei_node_totals *totals);
/// Walks the steps as a run would.
ei_status ei_check_steps(const ei_model *model, const ei_program_record *program);

/// Puts the tensor in front of the last message.
ei_status ei_fail_in_tensor(ei_status status, const ei_model *model, uint32_t tensor);
/// Puts the node, its name and operator in front of the last message.
ei_status ei_fail_in_node(ei_status status, const ei_model *model, uint32_t node);

#endif
