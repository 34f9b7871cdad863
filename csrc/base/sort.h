/// Sorting in place without recursion or memory: what comes from a file may be in any order.
#ifndef EI_BASE_SORT_H
#define EI_BASE_SORT_H

#include <stddef.h>
#include <stdint.h>

/// Sorts `values` ascending by `less` in O(count * log(count)), whatever the order (heap sort).
void ei_sort(uint32_t *values, size_t count,
             int (*less)(const void *context, uint32_t a, uint32_t b), const void *context);

#endif
