/// Arithmetic on plain integers and bool, for the indices and masks that models compute: in int64
/// whatever the dtype, compact rather than fast. Integers wrap around. One version for every tier.
#ifndef EI_KERNELS_PLAIN_H
#define EI_KERNELS_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "edgeinfer.h"

/// An element of any dtype but float32 (bool: 0 or 1).
int64_t ei_load_integer(const void *x, size_t i, uint32_t dtype);
/// Its low bytes; of bool, value != 0.
void ei_store_integer(void *y, size_t i, uint32_t dtype, int64_t value);
/// As ei_load_integer(); of float32 a number in the same order, -0 being 0 and NaN the largest.
int64_t ei_load_key(const void *x, size_t i, uint32_t dtype);

/// Elements in a line: operands step by 1 or 0.
typedef struct ei_plain_line {
    const void *a, *b, *c;
    void *y;
    size_t count;
    uint32_t a_step, b_step, c_step;
    uint32_t dtype; // of a and b
} ei_plain_line;

enum { EI_EQUAL = 0, EI_LESS = 1, EI_LESS_OR_EQUAL = 2, EI_COMPARE_KINDS = 3 };
/// y bool.
void ei_compare(const ei_plain_line *line, int32_t kind);

/// c bool: y = c ? a : b, elements of so many bytes.
void ei_select_elements(const ei_plain_line *line, uint32_t element_bytes);

enum {
    EI_INT_ADD = 0,
    EI_INT_SUB = 1,
    EI_INT_MUL = 2,
    EI_INT_DIV = 3,
    EI_INT_MAXIMUM = 4,
    EI_INT_MINIMUM = 5,
    EI_INT_POW = 6,
    EI_INT_FMOD = 7,
    EI_INT_MOD = 8,
    EI_INT_AND = 9,
    EI_INT_OR = 10,
    EI_INT_XOR = 11,
    EI_BINARY_INT_KINDS = 12,
};
int64_t ei_binary_int(int32_t kind, int64_t a, int64_t b);
void ei_binary_int_line(const ei_plain_line *line, int32_t kind);

enum { EI_INT_NEG = 0, EI_INT_ABS = 1, EI_INT_SIGN = 2, EI_INT_NOT = 3, EI_UNARY_INT_KINDS = 4 };
int64_t ei_unary_int(int32_t kind, int64_t x);

/// Elements [0, count) of y from those of x.
void ei_cast_elements(const void *x, uint32_t x_dtype, void *y, uint32_t y_dtype, size_t count);

#endif
