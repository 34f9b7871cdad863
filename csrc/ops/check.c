#include "ops/check.h"

#include <inttypes.h>
#include <stdio.h>

#define EI_SHAPE_TEXT_BYTES 80 // "[" + 6 * "2147483647," + "]"

static void print_shape(const ei_tensor_record *tensor, char text[EI_SHAPE_TEXT_BYTES]) {
    size_t used = (size_t)snprintf(text, EI_SHAPE_TEXT_BYTES, "[");
    for (uint32_t i = 0; i < tensor->rank; i++) {
        used += (size_t)snprintf(text + used, EI_SHAPE_TEXT_BYTES - used, "%s%" PRId32,
                                 i == 0 ? "" : ",", tensor->dims[i]);
    }
    snprintf(text + used, EI_SHAPE_TEXT_BYTES - used, "]");
}

uint32_t ei_tensor_outer(const ei_tensor_record *tensor, uint32_t axis) {
    uint32_t product = 1;
    for (uint32_t i = 0; i < axis && i < tensor->rank; i++) {
        product *= (uint32_t)tensor->dims[i];
    }
    return product;
}

uint32_t ei_tensor_inner(const ei_tensor_record *tensor, uint32_t axis) {
    uint32_t product = 1;
    for (uint32_t i = axis; i < tensor->rank; i++) {
        product *= (uint32_t)tensor->dims[i];
    }
    return product;
}

uint32_t ei_tensor_elements(const ei_tensor_record *tensor) {
    return ei_tensor_inner(tensor, 0);
}

uint32_t ei_tensor_bytes(const ei_tensor_record *tensor) {
    return ei_tensor_elements(tensor) * ei_dtype_bytes(tensor->dtype);
}

ei_status ei_check_present(const ei_tensor_record *tensor, const char *what) {
    if (tensor == NULL) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: is absent, must be given", what);
    }
    return EI_OK;
}

ei_status ei_check_absent(const ei_tensor_record *tensor, const char *what) {
    if (tensor != NULL) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: is given, must be absent", what);
    }
    return EI_OK;
}

ei_status ei_check_activation(const ei_tensor_record *tensor, const char *what) {
    EI_TRY(ei_check_present(tensor, what));
    if (ei_tensor_is_constant(tensor)) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: is a constant, must be an activation", what);
    }
    return EI_OK;
}

ei_status ei_check_constant(const ei_tensor_record *tensor, const char *what) {
    EI_TRY(ei_check_present(tensor, what));
    if (!ei_tensor_is_constant(tensor)) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: is an activation, must be a constant", what);
    }
    return EI_OK;
}

ei_status ei_check_constant_elements(const ei_tensor_record *tensor, const char *what,
                                     uint32_t dtype, uint64_t elements) {
    EI_TRY(ei_check_constant(tensor, what));
    EI_TRY(ei_check_dtype(tensor, what, EI_DTYPE_BIT(dtype)));
    const uint32_t held = ei_tensor_elements(tensor);
    if (held < elements) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "%s: has %" PRIu32 " elements, must have at least %" PRIu64, what, held,
                       elements);
    }
    return EI_OK;
}

ei_status ei_check_dtype(const ei_tensor_record *tensor, const char *what, uint32_t dtypes) {
    EI_TRY(ei_check_present(tensor, what));
    if ((dtypes & EI_DTYPE_BIT(tensor->dtype)) != 0) {
        return EI_OK;
    }
    char allowed[96] = "";
    size_t used = 0;
    for (uint32_t dtype = 1; dtype < 32; dtype++) {
        if ((dtypes & EI_DTYPE_BIT(dtype)) != 0 && used < sizeof allowed) {
            used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s%s",
                                     used == 0 ? "" : " or ", ei_dtype_name(dtype));
        }
    }
    return ei_fail(EI_ERROR_OPERATOR, "%s: dtype is %s, must be %s", what,
                   ei_dtype_name(tensor->dtype), allowed);
}

ei_status ei_check_same_dtype(const ei_tensor_record *a, const char *a_what,
                              const ei_tensor_record *b, const char *b_what) {
    EI_TRY(ei_check_present(a, a_what));
    EI_TRY(ei_check_present(b, b_what));
    if (a->dtype != b->dtype) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: dtype is %s, must be that of %s, %s", a_what,
                       ei_dtype_name(a->dtype), b_what, ei_dtype_name(b->dtype));
    }
    return EI_OK;
}

ei_status ei_check_rank(const ei_tensor_record *tensor, const char *what, uint32_t low,
                        uint32_t high) {
    EI_TRY(ei_check_present(tensor, what));
    if (tensor->rank >= low && tensor->rank <= high) {
        return EI_OK;
    }
    char shape[EI_SHAPE_TEXT_BYTES];
    print_shape(tensor, shape);
    if (low == high) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: shape is %s, rank must be %" PRIu32, what, shape,
                       low);
    }
    return ei_fail(EI_ERROR_OPERATOR, "%s: shape is %s, rank must be from %" PRIu32 " to %" PRIu32,
                   what, shape, low, high);
}

ei_status ei_check_same_shape(const ei_tensor_record *a, const char *a_what,
                              const ei_tensor_record *b, const char *b_what) {
    EI_TRY(ei_check_present(a, a_what));
    EI_TRY(ei_check_present(b, b_what));
    int same = a->rank == b->rank;
    for (uint32_t i = 0; same && i < a->rank; i++) {
        same = a->dims[i] == b->dims[i];
    }
    if (same) {
        return EI_OK;
    }
    char a_shape[EI_SHAPE_TEXT_BYTES];
    char b_shape[EI_SHAPE_TEXT_BYTES];
    print_shape(a, a_shape);
    print_shape(b, b_shape);
    return ei_fail(EI_ERROR_OPERATOR, "%s: shape is %s, must be that of %s, %s", a_what, a_shape,
                   b_what, b_shape);
}

ei_status ei_check_same_elements(const ei_tensor_record *a, const char *a_what,
                                 const ei_tensor_record *b, const char *b_what) {
    EI_TRY(ei_check_present(a, a_what));
    EI_TRY(ei_check_present(b, b_what));
    const uint32_t a_count = ei_tensor_elements(a);
    const uint32_t b_count = ei_tensor_elements(b);
    if (a_count != b_count) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "%s: has %" PRIu32 " elements, must have as many as %s, %" PRIu32, a_what,
                       a_count, b_what, b_count);
    }
    return EI_OK;
}

ei_status ei_check_dim(const ei_tensor_record *tensor, const char *what, uint32_t axis,
                       int64_t dim) {
    EI_TRY(ei_check_present(tensor, what));
    if (axis < tensor->rank && tensor->dims[axis] == dim) {
        return EI_OK;
    }
    char shape[EI_SHAPE_TEXT_BYTES];
    print_shape(tensor, shape);
    return ei_fail(EI_ERROR_OPERATOR,
                   "%s: shape is %s, axis %" PRIu32 " must have %" PRId64 " elements", what, shape,
                   axis, dim);
}

ei_status ei_check_whole(const ei_tensor_record *tensor, const char *what) {
    EI_TRY(ei_check_present(tensor, what));
    if (tensor->ring_rows != tensor->rows) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "%s: is a ring of %" PRIu32 " rows, must be whole, %" PRIu32 " rows", what,
                       tensor->ring_rows, tensor->rows);
    }
    return EI_OK;
}

ei_status ei_check_int(int64_t value, const char *what, int64_t low, int64_t high) {
    if (value < low || value > high) {
        return ei_fail(EI_ERROR_OPERATOR,
                       "%s: is %" PRId64 ", must be from %" PRId64 " to %" PRId64, what, value, low,
                       high);
    }
    return EI_OK;
}

/// Infinities and NaNs have all exponent bits set; looking at them costs no libm call.
static int is_finite(float value) {
    union {
        float value;
        uint32_t bits;
    } pun = {value};
    return (pun.bits & 0x7f800000u) != 0x7f800000u;
}

ei_status ei_check_finite(float value, const char *what) {
    if (!is_finite(value)) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: is %g, must be finite", what, (double)value);
    }
    return EI_OK;
}

ei_status ei_check_positive(float value, const char *what) {
    if (!is_finite(value) || value <= 0.0f) {
        return ei_fail(EI_ERROR_OPERATOR, "%s: is %g, must be finite and above zero", what,
                       (double)value);
    }
    return EI_OK;
}

ei_status ei_check_finite_array(const float *values, size_t count, const char *what) {
    for (size_t i = 0; i < count; i++) {
        if (!is_finite(values[i])) {
            return ei_fail(EI_ERROR_OPERATOR, "%s: entry %zu is %g, must be finite", what, i,
                           (double)values[i]);
        }
    }
    return EI_OK;
}

ei_status ei_check_int_array(const int32_t *values, size_t count, const char *what, int32_t low,
                             int32_t high) {
    for (size_t i = 0; i < count; i++) {
        if (values[i] < low || values[i] > high) {
            return ei_fail(EI_ERROR_OPERATOR,
                           "%s: entry %zu is %" PRId32 ", must be from %" PRId32 " to %" PRId32,
                           what, i, values[i], low, high);
        }
    }
    return EI_OK;
}

ei_status ei_check_clamp(int32_t clamp_min, int32_t clamp_max, uint32_t dtype) {
    EI_TRY(ei_check_int(clamp_min, "clamp_min", ei_dtype_min(dtype), ei_dtype_max(dtype)));
    return ei_check_int(clamp_max, "clamp_max", clamp_min, ei_dtype_max(dtype));
}

ei_status ei_check_zero_point(int32_t zero_point, const char *what, uint32_t dtype) {
    return ei_check_int(zero_point, what, ei_dtype_min(dtype), ei_dtype_max(dtype));
}

ei_status ei_check_bounds(float clamp_min, float clamp_max) {
    if (!(clamp_min <= clamp_max)) {
        return ei_fail(EI_ERROR_OPERATOR, "clamp_min: is %g, must be at most clamp_max, %g",
                       (double)clamp_min, (double)clamp_max);
    }
    return EI_OK;
}
