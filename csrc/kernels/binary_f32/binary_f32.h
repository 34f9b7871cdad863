/// Arithmetic on two float32 operands.
#ifndef EI_KERNELS_BINARY_F32_H
#define EI_KERNELS_BINARY_F32_H

#include "kernels/binary.h"

/// Which function: the operator's `kind` (a part of the file format).
enum {
    EI_F32_ADD = 0,
    EI_F32_SUB = 1,
    EI_F32_MUL = 2,
    EI_F32_DIV = 3,
    EI_F32_MAXIMUM = 4, // a > b ? a : b, or a NaN where there is one
    EI_F32_MINIMUM = 5,
    EI_F32_PRELU = 6,  // a < 0 ? a * b : a
    EI_F32_POW = 7,    // those from here on by kernels/math_f64
    EI_F32_FMOD = 8,   // a - trunc(a / b) * b, exactly: C's fmod
    EI_F32_MOD = 9,    // the same plus b where it has not the sign of b
    EI_F32_ATAN2 = 10, // the angle of (b, a)
    EI_BINARY_F32_KINDS = 11,
};

typedef struct ei_binary_f32_args {
    int32_t kind;
    float clamp_min, clamp_max; // min <= max; may be infinite
} ei_binary_f32_args;

/// y = clamp(f(a, b)), each operation rounded once. A NaN is 0x7fc00000.
typedef void (*ei_binary_f32_fn)(const ei_binary_run *run, const ei_binary_f32_args *args);

/// Kinds below EI_F32_POW.
void ei_binary_f32_scalar(const ei_binary_run *run, const ei_binary_f32_args *args);
void ei_binary_f32_avx2(const ei_binary_run *run, const ei_binary_f32_args *args);

#endif
