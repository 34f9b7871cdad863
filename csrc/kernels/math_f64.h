/// The functions that networks use now and then, of float32 by way of float64: one version for every
/// tier, in plain additions, multiplications and divisions of float64, so with the same bits on every
/// CPU. Before the last rounding, to float32, a result is off by less than 2^-36 of itself, so that one
/// in some thousand is not the nearest float32, and none further than the next.
#ifndef EI_KERNELS_MATH_F64_H
#define EI_KERNELS_MATH_F64_H

#include "kernels/binary_f32/binary_f32.h"
#include "kernels/unary_f32/unary_f32.h"

/// Kinds of the operator unary_f32 beyond those of kernels/unary_f32 (a part of the file format).
enum {
    EI_F64_SIN = 65,
    EI_F64_COS = 66,
    EI_F64_TAN = 67,
    EI_F64_ASIN = 68,
    EI_F64_ACOS = 69,
    EI_F64_ATAN = 70,
    EI_F64_SINH = 71,
    EI_F64_COSH = 72,
    EI_F64_ASINH = 73,
    EI_F64_ACOSH = 74,
    EI_F64_ATANH = 75,
    EI_F64_SOFTPLUS = 76, // log(1 + e^x)
    EI_F64_KINDS = 77,
};

/// As a kernel of unary_f32, of these kinds.
void ei_unary_f64(const float *x, float *y, size_t count, const ei_unary_f32_args *args);
/// As a kernel of binary_f32, of kinds from EI_F32_POW on.
void ei_binary_f64(const ei_binary_run *run, const ei_binary_f32_args *args);

/// log(x) of x >= 0, of NaN and of infinity.
double ei_log_f64(double x);
/// e^x.
double ei_exp_f64(double x);

#endif
