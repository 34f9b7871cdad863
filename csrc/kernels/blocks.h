/// How elementwise kernels become vector code without being written for one instruction set: their
/// inner loop has a constant number of iterations, which compilers turn into vectors of whatever a
/// file is compiled for. The tiers include the same functions (<family>/<family>_blocks.h). Blocks
/// that are not whole go through copies, so that a kernel is that loop and nothing else, and no byte
/// outside the operands is touched.
#ifndef EI_KERNELS_BLOCKS_H
#define EI_KERNELS_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/binary.h"
#include "kernels/unroll.h"

/// Elements of a block: a vector of bytes of the widest instruction set.
#define EI_BLOCK 64

/// Before a loop whose iterations may be done side by side: y shares no byte with an operand, or
/// element i of it lies in the very bytes of element i.
///
/// EI_ONE_BY_ONE: before a loop that gains nothing by vectors or unrolling. EI_FOUR_BY_FOUR: before
/// one of few instructions, each a look-up or the like.
#if defined(__clang__)
#define EI_SIDE_BY_SIDE _Pragma("clang loop vectorize(assume_safety)")
#define EI_ONE_BY_ONE   _Pragma("clang loop vectorize(disable) unroll(disable)")
#define EI_FOUR_BY_FOUR _Pragma("clang loop vectorize(disable) unroll_count(4)")
#else
#define EI_SIDE_BY_SIDE _Pragma("GCC ivdep")
#define EI_ONE_BY_ONE   _Pragma("GCC unroll 1")
#define EI_FOUR_BY_FOUR _Pragma("GCC unroll 4")
#endif

/// Whole blocks of two operands.
typedef struct ei_binary_blocks {
    const void *a, *b;
    void *y;
    size_t count;          // of blocks, 1 and up
    size_t a_step, b_step; // elements from a block to the next: EI_BLOCK, or 0
} ei_binary_blocks;

typedef void (*ei_binary_blocks_fn)(const ei_binary_blocks *blocks, const void *args);

/// Computes `run`, of elements of `element_bytes`, at most 8, by blocks. An operand that steps by 0
/// becomes a block of copies of its element.
void ei_binary_in_blocks(const ei_binary_run *run, size_t element_bytes, ei_binary_blocks_fn kernel,
                         const void *args);

/// `count` whole blocks of one operand; y may be the very bytes of x.
typedef void (*ei_unary_blocks_fn)(const void *x, void *y, size_t count, const void *args);

/// Computes `count` elements by blocks, x_bytes and y_bytes each, at most 8.
void ei_unary_in_blocks(const void *x, size_t x_bytes, void *y, size_t y_bytes, size_t count,
                        ei_unary_blocks_fn kernel, const void *args);

#endif
