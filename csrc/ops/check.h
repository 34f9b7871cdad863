/// The checks that operators have in common: each returns EI_OK, or fails with EI_ERROR_OPERATOR and
/// a message that names the operand or parameter, its value and the rule. `what` is the name that
/// operators.def gives it ("x", "weights", "stride_h").
///
///     static ei_status check(const ei_node *node) {
///         const ei_tensor_record *x = ei_node_input(node, 0);
///         const ei_conv2d_params *p = node->params;
///         EI_TRY(ei_check_activation(x, "x"));
///         EI_TRY(ei_check_dtype(x, "x", EI_DTYPE_BIT(EI_INT8) | EI_DTYPE_BIT(EI_INT16)));
///         EI_TRY(ei_check_int(p->stride_h, "stride_h", 1, 65535));
///
/// Before check() runs, the validator has made sure of: operand counts, dims >= 1, bytes of every
/// tensor <= EI_MAX_TENSOR_BYTES (so products of dims fit uint32_t), rows and row_bytes from the
/// shape, alignment to the element, that outputs are activations and that constants lie inside the
/// file. An input may still be absent (NULL), a constant or an activation.
#ifndef EI_OPS_CHECK_H
#define EI_OPS_CHECK_H

#include "base/dtype.h"
#include "base/error.h"
#include "ops/op.h"

/// Sets of dtypes: EI_DTYPE_BIT(EI_INT8) | EI_DTYPE_BIT(EI_INT16).
#define EI_DTYPE_BIT(dtype) (1u << (dtype))
#define EI_DTYPES_S8_S16    (EI_DTYPE_BIT(EI_INT8) | EI_DTYPE_BIT(EI_INT16))
#define EI_DTYPES_ANY       0xfeu
#define EI_DTYPES_INTEGER   (EI_DTYPES_ANY & ~EI_DTYPE_BIT(EI_FLOAT32)) // bool too

/// Elements and bytes of the whole tensor (not of its ring).
uint32_t ei_tensor_elements(const ei_tensor_record *tensor);
uint32_t ei_tensor_bytes(const ei_tensor_record *tensor);
/// Elements before and from axis on: dims[0] * ... * dims[axis - 1], and dims[axis] * ... .
uint32_t ei_tensor_outer(const ei_tensor_record *tensor, uint32_t axis);
uint32_t ei_tensor_inner(const ei_tensor_record *tensor, uint32_t axis);

// --- operands. All but ei_check_absent fail on an absent operand, so they need no check before.
ei_status ei_check_present(const ei_tensor_record *tensor, const char *what);
ei_status ei_check_absent(const ei_tensor_record *tensor, const char *what);
/// Present and computed, not a constant.
ei_status ei_check_activation(const ei_tensor_record *tensor, const char *what);
/// Present and a constant.
ei_status ei_check_constant(const ei_tensor_record *tensor, const char *what);
/// A constant of exactly this dtype with at least `elements` elements (its rank does not matter).
ei_status ei_check_constant_elements(const ei_tensor_record *tensor, const char *what,
                                     uint32_t dtype, uint64_t elements);
ei_status ei_check_dtype(const ei_tensor_record *tensor, const char *what, uint32_t dtypes);
ei_status ei_check_same_dtype(const ei_tensor_record *a, const char *a_what,
                              const ei_tensor_record *b, const char *b_what);
/// low <= rank <= high.
ei_status ei_check_rank(const ei_tensor_record *tensor, const char *what, uint32_t low,
                        uint32_t high);
/// The same rank and dims.
ei_status ei_check_same_shape(const ei_tensor_record *a, const char *a_what,
                              const ei_tensor_record *b, const char *b_what);
/// The same number of elements.
ei_status ei_check_same_elements(const ei_tensor_record *a, const char *a_what,
                                 const ei_tensor_record *b, const char *b_what);
/// dims[axis] == dim; axis < rank is checked too.
ei_status ei_check_dim(const ei_tensor_record *tensor, const char *what, uint32_t axis,
                       int64_t dim);
/// Not a ring: every row has its own place, so the tensor may be read as one array.
ei_status ei_check_whole(const ei_tensor_record *tensor, const char *what);

// --- parameters
ei_status ei_check_int(int64_t value, const char *what, int64_t low, int64_t high);
ei_status ei_check_finite(float value, const char *what);
/// Finite and above zero.
ei_status ei_check_positive(float value, const char *what);
/// Every value of the array finite. `values` is aligned to 4 bytes.
ei_status ei_check_finite_array(const float *values, size_t count, const char *what);
/// low <= value[i] <= high for the whole array. `values` is aligned to 4 bytes.
ei_status ei_check_int_array(const int32_t *values, size_t count, const char *what, int32_t low,
                             int32_t high);
/// clamp_min <= clamp_max, both values of the (integer) dtype.
ei_status ei_check_clamp(int32_t clamp_min, int32_t clamp_max, uint32_t dtype);
/// clamp_min <= clamp_max, either of which may be infinite; NaN is refused.
ei_status ei_check_bounds(float clamp_min, float clamp_max);
/// A value of the (integer) dtype.
ei_status ei_check_zero_point(int32_t zero_point, const char *what, uint32_t dtype);

#endif
