/// The one table through which operators reach kernels.
///
/// The scalar tier fills every entry; each faster tier starts from the tier below it and overwrites
/// the entries that it has something better for. Whatever the tier, an entry gives the same bits.
///
/// To add a family, `mul_s8_s8` say:
///   1. kernels/mul_s8_s8/mul_s8_s8.h: the argument struct `ei_mul_s8_s8_args`, the function type
///      `ei_mul_s8_s8_fn`, the contract (shapes, layouts, ranges, largest sums), and the declaration
///      of `ei_mul_s8_s8_scalar`. Families with the same arguments may share a header.
///   2. kernels/mul_s8_s8/mul_s8_s8_scalar.c: that function.
///   3. here: the include; kernels.def: one line `EI_KERNEL(ei_mul_s8_s8_fn, mul_s8_s8)` with a
///      sentence above it.
///   4. table.c, fill_scalar(): one line `kernels->mul_s8_s8 = ei_mul_s8_s8_scalar;`.
/// To add a tier's version: the file <family>/<family>_<tier>.c, its declaration in the family's
/// header, and one line in fill_<tier>() of table.c.
#ifndef EI_KERNELS_TABLE_H
#define EI_KERNELS_TABLE_H

#include "kernels/accumulate_rows/accumulate_rows.h"
#include "kernels/add/add.h"
#include "kernels/argmax/argmax.h"
#include "kernels/batch_matmul_f32_f32/batch_matmul_f32_f32.h"
#include "kernels/batch_matmul_s16_s16/batch_matmul_s16_s16.h"
#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8.h"
#include "kernels/binary_f32/binary_f32.h"
#include "kernels/conv2d_f32_f32/conv2d_f32_f32.h"
#include "kernels/conv2d_s16_s8c/conv2d_s16_s8c.h"
#include "kernels/conv2d_s8_s8c/conv2d_s8_s8c.h"
#include "kernels/convert/convert.h"
#include "kernels/depthwise_conv2d_f32_f32/depthwise_conv2d_f32_f32.h"
#include "kernels/depthwise_conv2d_s16_s8c/depthwise_conv2d_s16_s8c.h"
#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c.h"
#include "kernels/fully_connected_f32_f32/fully_connected_f32_f32.h"
#include "kernels/fully_connected_f32_f4/fully_connected_f32_f4.h"
#include "kernels/fully_connected_s16_s8c/fully_connected_s16_s8c.h"
#include "kernels/fully_connected_s8_s8c/fully_connected_s8_s8c.h"
#include "kernels/layer_norm_f32/layer_norm_f32.h"
#include "kernels/lut16/lut16.h"
#include "kernels/lut8/lut8.h"
#include "kernels/min_max/min_max.h"
#include "kernels/move/move.h"
#include "kernels/mul/mul.h"
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/pool2d_f32/pool2d_f32.h"
#include "kernels/reduce_f32/reduce_f32.h"
#include "kernels/reduce_sum/reduce_sum.h"
#include "kernels/rescale_sums/rescale_sums.h"
#include "kernels/resize_bilinear/resize_bilinear.h"
#include "kernels/resize_f32/resize_f32.h"
#include "kernels/softmax/softmax.h"
#include "kernels/softmax_f32/softmax_f32.h"
#include "kernels/transpose_conv2d_f32_f32/transpose_conv2d_f32_f32.h"
#include "kernels/transpose_conv2d_s16_s8c/transpose_conv2d_s16_s8c.h"
#include "kernels/transpose_conv2d_s8_s8c/transpose_conv2d_s8_s8c.h"
#include "kernels/unary_f32/unary_f32.h"

typedef struct ei_kernels {
    const char *tier;
#define EI_KERNEL(type, name) type name;
#include "kernels/kernels.def"
#undef EI_KERNEL
} ei_kernels;

/// The table of a tier that this build has and this CPU supports, or NULL. Built on first use, then
/// constant; any thread may call it.
const ei_kernels *ei_kernels_find(const char *tier);

/// Name of the i-th tier of this build, from "scalar" to the fastest, or NULL past the end. This CPU
/// supports it when ei_kernels_find() knows it.
const char *ei_kernels_tier(int index);

/// Name of the i-th entry of the table, in the order of kernels.def, or NULL past the end.
const char *ei_kernels_entry(int index);

/// Name of the tier whose version of the i-th entry a table has: its own, or the one that it
/// inherited. NULL past the end.
const char *ei_kernels_entry_tier(const ei_kernels *kernels, int index);

#endif
