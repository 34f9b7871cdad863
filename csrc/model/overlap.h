/// Where the produced tensors of a buffer overlap otherwise than as whole tensors of the same bytes do.
///
/// A plan may let an operator write its output into the bytes of input rows that nobody needs any
/// more, put a ring into the part of a tensor that is not written yet, or let rings have the same
/// bytes, in place or in turn. Every produced tensor of
/// such a buffer is on its own; there are no chains. Writing rows of one touches bytes (two runs of
/// them where the rows wrap around in a ring). Rows of other tensors that lie there at this time are
/// lost: of a tensor of which w rows are written, the place p of its ring of R rows holds the newest
/// row below w that is p modulo R, and none when there is no such row yet. A row that is written
/// later is there again.
///
/// One number per tensor remembers this, `lost`: rows below it count as lost. That is exact while
/// rows are lost in their order, as they are when tensors are written from their first row to their
/// last; a row that is intact between lost ones counts as lost too.
///
/// - A produced tensor may be read from row `lost` on.
/// - A view may be read where produced tensors, none of their rows that it shows being lost, cover
///   the bytes that are read. A view of a ring may be read where produced rings of the same rows, ring
///   and row size hold each of the rows.
/// - Within a step the bytes that it reads and those that it writes have nothing in common, unless
///   the operator works in place on the very same elements (ei_rows_meet, ei_tensors_coincide).
///
/// Buffers that are alive in a common step do not overlap, with one exception: others may lie in the
/// bytes of a graph input that is whole. The caller's memory may take the place of a graph input; when
/// it does not, what is written there is written over the input. So of these bytes must be known
///
/// - that no step reads them any more: bytes before the last one overwritten count as lost;
/// - that this step does not read them;
/// - that they have come: a run by rows (run/feed.c) may store a row until the first step that reads it
///   or a later one, and rows behind all that is read as long as the input's buffer is alive.
#ifndef EI_MODEL_OVERLAP_H
#define EI_MODEL_OVERLAP_H

#include "model/contents.h"
#include "model/model.h"

// --- two tensors

/// Whether the bytes that two activations hold meet.
int ei_tensors_meet(const ei_tensor_record *a, const ei_tensor_record *b);
/// Whether two activations are the same elements in the same places, as working in place needs.
int ei_tensors_coincide(const ei_tensor_record *a, const ei_tensor_record *b);
/// Whether row r of one lies where row r of the other does, for all r.
int ei_tensors_same_rows(const ei_tensor_record *a, const ei_tensor_record *b);
/// Whether bytes of rows [a_begin, a_end) of one are bytes of rows [b_begin, b_end) of the other.
int ei_rows_meet(const ei_tensor_record *a, uint32_t a_begin, uint32_t a_end,
                 const ei_tensor_record *b, uint32_t b_begin, uint32_t b_end);

// --- the walk, in buffers that have `overlaps` set; those of graph inputs hold one produced tensor

/// Rows [begin, end) of a produced tensor are about to be read: are they there?
ei_status ei_overlap_read(const ei_contents *contents, const ei_model *model, uint32_t tensor,
                          uint32_t begin, uint32_t end);
/// The same of a view.
ei_status ei_overlap_read_view(ei_contents *contents, const ei_model *model, uint32_t tensor,
                               uint32_t begin, uint32_t end);
/// Rows [begin, end) of a produced tensor, the next ones, have been written: others lose theirs.
ei_status ei_overlap_write(ei_contents *contents, const ei_model *model, uint32_t tensor,
                           uint32_t begin, uint32_t end);

// --- graph inputs in whose bytes other buffers lie

/// Finds them, in a program whose graph inputs have been found.
ei_status ei_overlain_start(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program);
/// Rows [begin, end) of a tensor in the buffer of such an input are about to be read: are they there?
ei_status ei_overlain_read(ei_contents *contents, const ei_model *model, uint32_t tensor,
                           uint32_t begin, uint32_t end);
/// Rows [begin, end) of an activation are written: may they be, where they lie in such an input?
ei_status ei_overlain_write(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program, uint32_t tensor, uint32_t begin,
                            uint32_t end);

#endif
