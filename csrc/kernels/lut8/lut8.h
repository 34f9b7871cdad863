/// Any function of one byte, as a table.
#ifndef EI_KERNELS_LUT8_H
#define EI_KERNELS_LUT8_H

#include <stddef.h>
#include <stdint.h>

/// y[i] = table[x[i]], 0 <= i < count. The table has 256 elements of y's size (1, 2, 4 or 8 bytes),
/// aligned as y is; signed bytes index it by their unsigned value. y may be the very bytes of x
/// (lut8_b1).
typedef void (*ei_lut8_fn)(const uint8_t *x, const void *table, void *y, size_t count);

void ei_lut8_b1_scalar(const uint8_t *x, const void *table, void *y, size_t count);
void ei_lut8_b2_scalar(const uint8_t *x, const void *table, void *y, size_t count);
void ei_lut8_b4_scalar(const uint8_t *x, const void *table, void *y, size_t count);
void ei_lut8_b8_scalar(const uint8_t *x, const void *table, void *y, size_t count);

/// On CPUs that have AVX-512 VBMI too.
void ei_lut8_b1_avx512vnni(const uint8_t *x, const void *table, void *y, size_t count);

/// On 64-bit ARM.
void ei_lut8_b1_neon(const uint8_t *x, const void *table, void *y, size_t count);

#endif
