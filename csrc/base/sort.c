#include "base/sort.h"

typedef int ei_less(const void *context, uint32_t a, uint32_t b);

/// Lets values[at] sink until no child is larger.
static void sink(uint32_t *values, size_t at, size_t count, ei_less *less, const void *context) {
    const uint32_t value = values[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && less(context, values[child], values[child + 1])) {
            child++;
        }
        if (!less(context, value, values[child])) {
            break;
        }
        values[at] = values[child];
        at = child;
    }
    values[at] = value;
}

void ei_sort(uint32_t *values, size_t count, ei_less *less, const void *context) {
    for (size_t i = count / 2; i-- > 0;) {
        sink(values, i, count, less, context);
    }
    for (size_t last = count; last-- > 1;) {
        const uint32_t largest = values[0];
        values[0] = values[last];
        values[last] = largest;
        sink(values, 0, last, less, context);
    }
}
