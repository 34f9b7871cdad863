#include "base/size.h"
#include "model/model.h"

ei_session_layout ei_session_layout_of(const ei_program_record *program, uint64_t operands,
                                       int *overflow) {
    ei_session_layout at;
    at.nodes = EI_SESSION_FIXED_BYTES;
    at.views = at.nodes + (uint64_t)program->node_count * EI_SESSION_NODE_BYTES;
    const uint64_t bookkeeping =
        ei_size_add(at.views, ei_size_mul(operands, EI_SESSION_OPERAND_BYTES, overflow), overflow);
    at.scratch = ei_size_align(bookkeeping, EI_SESSION_ALIGNMENT, overflow);
    at.arena = ei_size_add(at.scratch,
                           ei_size_align(program->scratch_bytes, EI_SESSION_ALIGNMENT, overflow),
                           overflow);
    at.state = ei_size_add(
        at.arena, ei_size_align(program->arena_bytes, EI_SESSION_ALIGNMENT, overflow), overflow);
    at.bytes = ei_size_add(
        at.state, ei_size_align(program->state_bytes, EI_SESSION_ALIGNMENT, overflow), overflow);
    return at;
}
