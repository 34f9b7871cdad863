/// How elementwise kernels of two operands see data: runs of elements, one behind another. Operators
/// cut a band of rows into such runs (ops/broadcast.h).
#ifndef EI_KERNELS_BINARY_H
#define EI_KERNELS_BINARY_H

#include <stddef.h>
#include <stdint.h>

typedef struct ei_binary_run {
    const void *a, *b;       // aligned to their elements
    void *y;                 // may be the very bytes of an operand that steps by 1
    size_t count;            // elements of y, 1 and up
    uint32_t a_step, b_step; // elements to the next one: 1, or 0 when one element meets all of y
} ei_binary_run;

#endif
