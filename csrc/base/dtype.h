/// Element types: sizes, names, ranges.
#ifndef EI_BASE_DTYPE_H
#define EI_BASE_DTYPE_H

#include <stdint.h>

#include "edgeinfer.h"

/// Bytes of one element; 0 when there is no such dtype.
uint32_t ei_dtype_bytes(uint32_t dtype);
/// "int8" and so on; "unknown dtype" when there is none.
const char *ei_dtype_name(uint32_t dtype);
/// Smallest and largest value of an integer dtype. 0 and 0 for floats and unknown ones.
int64_t ei_dtype_min(uint32_t dtype);
int64_t ei_dtype_max(uint32_t dtype);

#endif
