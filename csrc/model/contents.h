/// What the buffers of a program hold while the validator walks its steps.
///
/// Every activation is one of two kinds. A *produced* tensor is a graph input or some node's output:
/// it has the contents that its producer gave it. A *view* has no producer: it names bytes that
/// produced tensors of the same buffer fill (a reshape, a slice, the whole of a concatenation).
///
/// The bytes of a produced tensor are a *slot*. In most buffers the produced tensors have either
/// exactly the same bytes, and then share the slot, or none in common. The tensors of a slot are
/// written one over the other: the order in which they are first written is a chain, and a tensor
/// never gets ahead of the one before it in the chain. So the bytes of a slot, from its start, hold
/// the last tensor of the chain as far as that is written, then the one before, and so on; and one
/// comparison tells whether rows of a tensor are still there. That is what an operator working in
/// place does on whole tensors. A ring has its slot to itself, but for views of the same rows, ring and
/// row size. A view of whole tensors may be a part of a slot or cover several, which must be written
/// in order.
///
/// A graph input that is a ring is written as a run by rows writes it (run/feed.c): before each step, as far as the step
/// reads.
///
/// Buffers in which produced tensors overlap in any other way, or a ring has the bytes of another
/// produced tensor, have no chains: overlap.h.
///
/// Not found: a view read after what it once showed was overwritten by another tensor of the slot.
/// It then shows the newer contents, which a view may be meant to do. The state region is not
/// tracked: its contents come from earlier runs.
#ifndef EI_MODEL_CONTENTS_H
#define EI_MODEL_CONTENTS_H

#include "model/model.h"

typedef struct ei_tensor_track {
    uint32_t producer; // node of the file, or one of contents.c's special values
    uint32_t written;  // bytes of its rows written so far in the walk, counted from row 0
    uint32_t slot;     // produced: its slot. View: the first slot that was not full when last read
    uint32_t under;    // the tensor before it in the chain of its slot
    uint32_t over;     // the tensor after it
    uint32_t lost;     // where tensors overlap: rows below this one count as overwritten
    uint32_t lost_to;  // the tensor that was written over row lost - 1
} ei_tensor_track;

typedef struct ei_slot {
    uint32_t shape; // a tensor of the slot: all have its buffer, offset and held bytes
    uint32_t head;  // first and last tensor of the chain
    uint32_t tail;
} ei_slot;

/// A buffer, and where its produced tensors overlap, those whose rows may still be read. Of a graph input in whose bytes
/// other buffers lie, what is known of its bytes, counted from its first.
typedef struct ei_buffer_track {
    uint32_t overlaps;   // 1: its produced tensors overlap otherwise than in chains
    uint32_t first;      // of its produced tensors in ei_contents.order
    uint32_t live;       // from there on, so many that have rows written and not all of them lost
    uint32_t lies_under; // 1: a graph input in whose bytes other buffers lie
    uint32_t come;       // the bytes before it have come, however rows are fed
    uint32_t lost;       // the bytes before it count as overwritten
    uint32_t read_step, read_begin, read_end; // the last step that read it, and what
} ei_buffer_track;

typedef struct ei_contents {
    ei_tensor_track *tracks;  // one per tensor of the file
    ei_slot *slots;           // of the current program, by buffer and offset; room for every tensor
    uint32_t *order;          // the program's produced tensors by buffer; room for every tensor
    ei_buffer_track *buffers; // of the current program; room for every buffer
    uint32_t slot_count;
    uint32_t step;        // of the program; where the walk is
    int has_rings;        // whether a graph input of the current program is a ring
    int has_overlain;     // whether other buffers lie in the bytes of one
    uint64_t comparisons; // of tensors that overlap; overlap.c limits them
} ei_contents;

/// Finds producers and slots of a program whose records are checked, and fills graph inputs.
ei_status ei_contents_start(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program);
/// Rows [begin, end) of an activation are about to be read: where it is a graph input that is a ring, or a view of one, a run
/// by rows brings those that are not there yet.
void ei_contents_feed(ei_contents *contents, const ei_model *model,
                      const ei_program_record *program, uint32_t tensor, uint32_t begin,
                      uint32_t end);
/// Rows [begin, end) of an activation are about to be read: are they there?
ei_status ei_contents_read(ei_contents *contents, const ei_model *model,
                           const ei_program_record *program, uint32_t tensor, uint32_t begin,
                           uint32_t end);
/// Rows [begin, end) of its node's output are written: are they the next, and may they be?
ei_status ei_contents_write(ei_contents *contents, const ei_model *model,
                            const ei_program_record *program, uint32_t tensor, uint32_t begin,
                            uint32_t end);
/// After the last step: is every produced tensor complete?
ei_status ei_contents_finish(const ei_contents *contents, const ei_model *model,
                             const ei_program_record *program);

#endif
