/// Arithmetic on sizes that come from a file: an overflow is remembered, so a formula reads as one
/// and is judged once.
///
///     int overflow = 0;
///     const uint64_t end = ei_size_add(offset, ei_size_mul(count, 32, &overflow), &overflow);
///     if (overflow || end > bytes) ...
#ifndef EI_BASE_SIZE_H
#define EI_BASE_SIZE_H

#include <stdint.h>

/// a + b; sets *overflow, and never clears it, when the sum does not fit.
static inline uint64_t ei_size_add(uint64_t a, uint64_t b, int *overflow) {
    uint64_t sum;
    *overflow |= __builtin_add_overflow(a, b, &sum);
    return sum;
}

/// a * b; sets *overflow, and never clears it, when the product does not fit.
static inline uint64_t ei_size_mul(uint64_t a, uint64_t b, int *overflow) {
    uint64_t product;
    *overflow |= __builtin_mul_overflow(a, b, &product);
    return product;
}

/// The smallest multiple of `alignment`, a power of two, that is at least `size`.
static inline uint64_t ei_size_align(uint64_t size, uint64_t alignment, int *overflow) {
    return ei_size_add(size, alignment - 1, overflow) & ~(alignment - 1);
}

/// Whether [offset, offset + bytes) lies in [0, limit).
static inline int ei_size_inside(uint64_t offset, uint64_t bytes, uint64_t limit) {
    return bytes <= limit && offset <= limit - bytes;
}

#endif
