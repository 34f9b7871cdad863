#include "kernels/blocks.h"

#include <string.h>

#define EI_MAX_ELEMENT_BYTES 8

typedef struct ei_operand_block {
    _Alignas(64) uint8_t bytes[EI_BLOCK * EI_MAX_ELEMENT_BYTES];
} ei_operand_block;

/// A block of copies of one element.
static const void *spread(ei_operand_block *block, const void *element, size_t element_bytes) {
    for (size_t i = 0; i < EI_BLOCK; i++) {
        memcpy(block->bytes + i * element_bytes, element, element_bytes);
    }
    return block->bytes;
}

/// A block that begins with these bytes; the others are defined, whatever they are.
static const void *fill_up(ei_operand_block *block, const void *operand, size_t bytes) {
    memset(block->bytes, 0, sizeof block->bytes);
    memcpy(block->bytes, operand, bytes);
    return block->bytes;
}

void ei_binary_in_blocks(const ei_binary_run *run, size_t element_bytes, ei_binary_blocks_fn kernel,
                         const void *args) {
    ei_operand_block a, b, y;
    const size_t whole = run->count / EI_BLOCK;
    ei_binary_blocks blocks = {
        .a = run->a_step ? run->a : spread(&a, run->a, element_bytes),
        .b = run->b_step ? run->b : spread(&b, run->b, element_bytes),
        .y = run->y,
        .count = whole,
        .a_step = run->a_step ? EI_BLOCK : 0,
        .b_step = run->b_step ? EI_BLOCK : 0,
    };
    if (whole > 0) {
        kernel(&blocks, args);
    }
    const size_t done = whole * EI_BLOCK * element_bytes;
    const size_t rest = run->count * element_bytes - done;
    if (rest == 0) {
        return;
    }
    if (run->a_step) {
        blocks.a = fill_up(&a, (const uint8_t *)run->a + done, rest);
    }
    if (run->b_step) {
        blocks.b = fill_up(&b, (const uint8_t *)run->b + done, rest);
    }
    blocks.y = y.bytes;
    blocks.count = 1;
    kernel(&blocks, args);
    memcpy((uint8_t *)run->y + done, y.bytes, rest);
}

void ei_unary_in_blocks(const void *x, size_t x_bytes, void *y, size_t y_bytes, size_t count,
                        ei_unary_blocks_fn kernel, const void *args) {
    const size_t whole = count / EI_BLOCK;
    const size_t done = whole * EI_BLOCK;
    const size_t rest = count - done;
    if (whole > 0) {
        kernel(x, y, whole, args);
    }
    if (rest > 0) {
        ei_operand_block x_block, y_block;
        fill_up(&x_block, (const uint8_t *)x + done * x_bytes, rest * x_bytes);
        kernel(x_block.bytes, y_block.bytes, 1, args);
        memcpy((uint8_t *)y + done * y_bytes, y_block.bytes, rest * y_bytes);
    }
}
