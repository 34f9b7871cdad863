/// Any function of an int16, as a table of 512 lines. TensorFlow Lite's LUTLookup for int16.
#ifndef EI_KERNELS_LUT16_H
#define EI_KERNELS_LUT16_H

#include <stddef.h>
#include <stdint.h>

/// With i = 256 + (x >> 7): y = table[i] + (((table[i + 1] - table[i]) * (x & 127) + 64) >> 7), for
/// `count` elements. The table has 513 entries. |difference * 127| < 2^23; the result lies between
/// the two entries, so it is an int16. y may be the very bytes of x.
typedef void (*ei_lut16_fn)(const int16_t *x, const int16_t *table, int16_t *y, size_t count);

void ei_lut16_s16_scalar(const int16_t *x, const int16_t *table, int16_t *y, size_t count);

void ei_lut16_s16_avx2(const int16_t *x, const int16_t *table, int16_t *y, size_t count);

void ei_lut16_s16_neon(const int16_t *x, const int16_t *table, int16_t *y, size_t count);

#endif
