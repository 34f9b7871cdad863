#include "kernels/plain.h"

#include <string.h>

#include "base/dtype.h"

int64_t ei_load_integer(const void *x, size_t i, uint32_t dtype) {
    switch (dtype) {
    case EI_INT8: return ((const int8_t *)x)[i];
    case EI_INT16: return ((const int16_t *)x)[i];
    case EI_INT32: return ((const int32_t *)x)[i];
    case EI_INT64: return ((const int64_t *)x)[i];
    case EI_BOOL: return ((const uint8_t *)x)[i] != 0;
    default: return ((const uint8_t *)x)[i];
    }
}

void ei_store_integer(void *y, size_t i, uint32_t dtype, int64_t value) {
    switch (dtype) {
    case EI_INT16: ((int16_t *)y)[i] = (int16_t)value; break;
    case EI_INT32: ((int32_t *)y)[i] = (int32_t)value; break;
    case EI_INT64: ((int64_t *)y)[i] = value; break;
    case EI_BOOL: ((uint8_t *)y)[i] = value != 0; break;
    default: ((uint8_t *)y)[i] = (uint8_t)value; break;
    }
}

int64_t ei_load_key(const void *x, size_t i, uint32_t dtype) {
    if (dtype != EI_FLOAT32) {
        return ei_load_integer(x, i, dtype);
    }
    const int32_t bits = ((const int32_t *)x)[i];
    const int32_t magnitude = bits & INT32_MAX;
    if (magnitude > 0x7f800000) {
        return INT32_MAX;
    }
    return bits < 0 ? -magnitude : magnitude;
}

static int compare(int32_t kind, int64_t a, int64_t b) {
    return kind == EI_EQUAL ? a == b : (kind == EI_LESS ? a < b : a <= b);
}

static int compare_floats(int32_t kind, float a, float b) {
    return kind == EI_EQUAL ? a == b : (kind == EI_LESS ? a < b : a <= b);
}

void ei_compare(const ei_plain_line *line, int32_t kind) {
    uint8_t *y = line->y;
    for (size_t i = 0; i < line->count; i++) {
        const size_t p = i * line->a_step;
        const size_t q = i * line->b_step;
        if (line->dtype == EI_FLOAT32) {
            const float *a = line->a;
            const float *b = line->b;
            y[i] = (uint8_t)compare_floats(kind, a[p], b[q]);
        } else {
            y[i] = (uint8_t)compare(kind, ei_load_integer(line->a, p, line->dtype),
                                    ei_load_integer(line->b, q, line->dtype));
        }
    }
}

#define EI_SELECT(type)                                                                            \
    for (size_t i = 0; i < line->count; i++) {                                                     \
        const type *a = (const type *)line->a + i * line->a_step;                                  \
        const type *b = (const type *)line->b + i * line->b_step;                                  \
        ((type *)line->y)[i] = condition[i * line->c_step] != 0 ? *a : *b;                         \
    }                                                                                              \
    return

void ei_select_elements(const ei_plain_line *line, uint32_t element_bytes) {
    const uint8_t *condition = line->c;
    switch (element_bytes) {
    case 1: EI_SELECT(uint8_t);
    case 2: EI_SELECT(uint16_t);
    case 4: EI_SELECT(uint32_t);
    default: EI_SELECT(uint64_t);
    }
}

/// Towards 0; by 0: 0. The one quotient that overflows wraps around.
static int64_t quotient(int64_t a, int64_t b) {
    if (b == -1) {
        return (int64_t)(0 - (uint64_t)a);
    }
    return b == 0 ? 0 : a / b;
}

/// a - quotient * b; by 0: 0.
static int64_t remainder_of(int64_t a, int64_t b) {
    return b == 0 || b == -1 ? 0 : a % b;
}

static int64_t power(int64_t a, int64_t b) {
    if (b < 0) { // 1 / a^-b, towards 0
        return a == 1 || a == -1 ? power(a, b & 1) : 0;
    }
    uint64_t y = 1;
    for (uint64_t square = (uint64_t)a; b > 0; b >>= 1, square *= square) {
        y *= b & 1 ? square : 1;
    }
    return (int64_t)y;
}

int64_t ei_binary_int(int32_t kind, int64_t a, int64_t b) {
    switch (kind) {
    case EI_INT_ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
    case EI_INT_SUB: return (int64_t)((uint64_t)a - (uint64_t)b);
    case EI_INT_MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
    case EI_INT_DIV: return quotient(a, b);
    case EI_INT_MAXIMUM: return a > b ? a : b;
    case EI_INT_MINIMUM: return a < b ? a : b;
    case EI_INT_POW: return power(a, b);
    case EI_INT_FMOD: return remainder_of(a, b);
    case EI_INT_MOD: {
        const int64_t rest = remainder_of(a, b);
        return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }
    case EI_INT_AND: return a & b;
    case EI_INT_OR: return a | b;
    default: return a ^ b;
    }
}

void ei_binary_int_line(const ei_plain_line *line, int32_t kind) {
    for (size_t i = 0; i < line->count; i++) {
        const int64_t a = ei_load_integer(line->a, i * line->a_step, line->dtype);
        const int64_t b = ei_load_integer(line->b, i * line->b_step, line->dtype);
        ei_store_integer(line->y, i, line->dtype, ei_binary_int(kind, a, b));
    }
}

int64_t ei_unary_int(int32_t kind, int64_t x) {
    switch (kind) {
    case EI_INT_NEG: return (int64_t)(0 - (uint64_t)x);
    case EI_INT_ABS: return x < 0 ? (int64_t)(0 - (uint64_t)x) : x;
    case EI_INT_SIGN: return (x > 0) - (x < 0);
    default: return ~x;
    }
}

static int64_t to_integer(float x, uint32_t dtype) {
    if (dtype == EI_BOOL) {
        return x != 0.0f;
    }
    const int64_t low = ei_dtype_min(dtype);
    const int64_t high = ei_dtype_max(dtype);
    // (float)high may be 2^63, which int64 does not hold; (float)low is exact.
    if (!(x < (float)high)) {
        return x != x ? 0 : high;
    }
    return x <= (float)low ? low : (int64_t)x;
}

void ei_cast_elements(const void *x, uint32_t x_dtype, void *y, uint32_t y_dtype, size_t count) {
    const float *floats = x;
    float *results = y;
    for (size_t i = 0; i < count; i++) {
        if (x_dtype == EI_FLOAT32) {
            ei_store_integer(y, i, y_dtype, to_integer(floats[i], y_dtype));
        } else if (y_dtype == EI_FLOAT32) {
            results[i] = (float)ei_load_integer(x, i, x_dtype);
        } else {
            ei_store_integer(y, i, y_dtype, ei_load_integer(x, i, x_dtype));
        }
    }
}
