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
///   3. here: the include, and one line `ei_mul_s8_s8_fn mul_s8_s8;` with a sentence above it.
///   4. table.c, fill_scalar(): one line `kernels->mul_s8_s8 = ei_mul_s8_s8_scalar;`.
/// To add a tier's version: the file <family>/<family>_<tier>.c, its declaration in the family's
/// header, and one line in fill_<tier>() of table.c.
#ifndef EI_KERNELS_TABLE_H
#define EI_KERNELS_TABLE_H

#include "kernels/add/add.h"
#include "kernels/argmax/argmax.h"
#include "kernels/batch_matmul_s16_s16/batch_matmul_s16_s16.h"
#include "kernels/batch_matmul_s8_s8/batch_matmul_s8_s8.h"
#include "kernels/conv2d_s16_s8c/conv2d_s16_s8c.h"
#include "kernels/conv2d_s8_s8c/conv2d_s8_s8c.h"
#include "kernels/convert/convert.h"
#include "kernels/depthwise_conv2d_s16_s8c/depthwise_conv2d_s16_s8c.h"
#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c.h"
#include "kernels/fully_connected_s16_s8c/fully_connected_s16_s8c.h"
#include "kernels/fully_connected_s8_s8c/fully_connected_s8_s8c.h"
#include "kernels/lut16/lut16.h"
#include "kernels/lut8/lut8.h"
#include "kernels/min_max/min_max.h"
#include "kernels/move/move.h"
#include "kernels/mul/mul.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/reduce_sum/reduce_sum.h"
#include "kernels/resize_bilinear/resize_bilinear.h"
#include "kernels/softmax/softmax.h"
#include "kernels/transpose_conv2d_s16_s8c/transpose_conv2d_s16_s8c.h"
#include "kernels/transpose_conv2d_s8_s8c/transpose_conv2d_s8_s8c.h"

typedef struct ei_kernels {
    const char *tier;

    /// Convolutions with constant weights: what a window sees is summed per output channel.
    ei_conv2d_s8_s8c_fn conv2d_s8_s8c;
    ei_conv2d_s16_s8c_fn conv2d_s16_s8c;

    /// The same within each channel.
    ei_depthwise_conv2d_s8_s8c_fn depthwise_conv2d_s8_s8c;
    ei_depthwise_conv2d_s16_s8c_fn depthwise_conv2d_s16_s8c;

    /// Transposed convolutions, gathering.
    ei_transpose_conv2d_s8_s8c_fn transpose_conv2d_s8_s8c;
    ei_transpose_conv2d_s16_s8c_fn transpose_conv2d_s16_s8c;

    /// Constant matrix times the vectors of an activation.
    ei_fully_connected_s8_s8c_fn fully_connected_s8_s8c;
    ei_fully_connected_s16_s8c_fn fully_connected_s16_s8c;

    /// Product of two activations' matrices.
    ei_batch_matmul_s8_s8_fn batch_matmul_s8_s8;
    ei_batch_matmul_s16_s16_fn batch_matmul_s16_s16;

    /// Elementwise, of two operands.
    ei_add_fn add_s8;
    ei_add_fn add_s16;
    ei_mul_fn mul_s8;
    ei_mul_fn mul_s16;
    ei_min_max_fn maximum_s8;
    ei_min_max_fn maximum_u8;
    ei_min_max_fn maximum_s16;
    ei_min_max_fn maximum_s32;
    ei_min_max_fn minimum_s8;
    ei_min_max_fn minimum_u8;
    ei_min_max_fn minimum_s16;
    ei_min_max_fn minimum_s32;

    /// Functions of one element as tables, by bytes of the result.
    ei_lut8_fn lut8_b1;
    ei_lut8_fn lut8_b2;
    ei_lut8_fn lut8_b4;
    ei_lut8_fn lut8_b8;
    ei_lut16_fn lut16_s16;

    /// Real numbers to integers and back.
    ei_quantize_fn quantize_s8;
    ei_quantize_fn quantize_u8;
    ei_quantize_fn quantize_s16;
    ei_dequantize_fn dequantize_s8;
    ei_dequantize_fn dequantize_u8;
    ei_dequantize_fn dequantize_s16;
    ei_dequantize_fn dequantize_s32;

    /// Means and maxima of windows.
    ei_avg_pool2d_fn avg_pool2d_s8;
    ei_avg_pool2d_fn avg_pool2d_s16;
    ei_max_pool2d_fn max_pool2d_s8;
    ei_max_pool2d_fn max_pool2d_u8;
    ei_max_pool2d_fn max_pool2d_s16;

    /// Sums over axes.
    ei_reduce_sum_fn reduce_sum_s8;
    ei_reduce_sum_fn reduce_sum_u8;
    ei_reduce_sum_fn reduce_sum_s16;

    /// Softmax of vectors, by the dtype of its input.
    ei_softmax_fn softmax_s8;
    ei_softmax_fn softmax_s16;

    /// Index of the largest or smallest element.
    ei_argmax_fn argmax_s8;
    ei_argmax_fn argmax_u8;
    ei_argmax_fn argmax_s16;
    ei_argmax_fn argmax_s32;
    ei_argmax_fn argmax_f32;

    /// Bilinear interpolation between two rows.
    ei_resize_bilinear_fn resize_bilinear_s8;
    ei_resize_bilinear_fn resize_bilinear_u8;
    ei_resize_bilinear_fn resize_bilinear_s16;

    /// Elements moved, whatever they are.
    ei_copy2d_fn copy2d;
    ei_fill_fn fill;
    ei_take_fn take;
} ei_kernels;

/// The table of a tier that this build has and this CPU supports, or NULL. Built on first use, then
/// constant; any thread may call it.
const ei_kernels *ei_kernels_find(const char *tier);

/// Name of the i-th tier of this build, from "scalar" to the fastest, or NULL past the end. This CPU
/// supports it when ei_kernels_find() knows it.
const char *ei_kernels_tier(int index);

#endif
