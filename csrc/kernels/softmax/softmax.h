/// Softmax of quantised vectors: a table of exponentials, the rest in float32. TensorFlow Lite's
/// builtin kernel for int8.
#ifndef EI_KERNELS_SOFTMAX_H
#define EI_KERNELS_SOFTMAX_H

#include <stddef.h>
#include <stdint.h>

typedef struct ei_softmax_args {
    const void *x; // vectors * size
    void *y;       // as many elements; may be the very bytes of x
    size_t vectors, size;
    const float *table; // as below; every entry from 0 to 1, e(0) == 1
    uint32_t y_bytes;   // of an element: 4 for float32, 1 or 2 for integers of either sign
    float out_scale;    // a normal number above zero; for integers, as are the next
    int32_t zero_point, clamp_min, clamp_max; // values of y's dtype
} ei_softmax_args;

/// For each vector, with d = (its largest element) - x, and
///     softmax_s8:  e(d) = table[d], 256 entries
///     softmax_s16: e(d) = table[d >> 8] * table[256 + (d & 255)], 512 entries
/// s = sum of e(d) in float32, from the first element to the last, and
///     float32:  y = e(d) / s
///     integers: y = clamp(floor(e(d) * (1 / (s * out_scale)) + 0.5) + zero_point)
/// each operation rounded to float32. s is at least 1, and `size` at most.
typedef void (*ei_softmax_fn)(const ei_softmax_args *args);

void ei_softmax_s8_scalar(const ei_softmax_args *args);
void ei_softmax_s16_scalar(const ei_softmax_args *args);

void ei_softmax_s8_avx2(const ei_softmax_args *args);

#endif
