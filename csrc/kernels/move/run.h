/// A run of bytes copied where it stands: most runs that operators move are a few bytes long, and a
/// call of the C library takes longer than the copy.
#ifndef EI_KERNELS_MOVE_RUN_H
#define EI_KERNELS_MOVE_RUN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/// Copies `bytes` from x to y, which share none.
static inline void ei_copy_run(uint8_t *y, const uint8_t *x, size_t bytes) {
// Two blocks, the second up against the end: they cover every length from one block to two.
#define EI_COPY_ENDS(block)                                                                        \
    do {                                                                                           \
        memcpy(y, x, block);                                                                       \
        memcpy(y + bytes - (block), x + bytes - (block), block);                                   \
    } while (0)
    if (bytes > 32) {
        memcpy(y, x, bytes);
    } else if (bytes >= 16) {
        EI_COPY_ENDS(16);
    } else if (bytes >= 8) {
        EI_COPY_ENDS(8);
    } else if (bytes >= 4) {
        EI_COPY_ENDS(4);
    } else if (bytes >= 2) {
        EI_COPY_ENDS(2);
    } else if (bytes == 1) {
        *y = *x;
    }
#undef EI_COPY_ENDS
}

#endif
