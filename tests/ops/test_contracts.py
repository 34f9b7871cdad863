"""What the other operators refuse when a file is opened: one change of a good operation per rule,
and the message that names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Operation, Value
from tests.kernels.run_operation import RowRange, constant, run_streamed, same_rows
from tests.ops.changes import (
    Change,
    activation,
    both,
    data,
    inputs_of,
    open_accepts,
    open_refuses,
    param,
    poke,
    without,
)

X, TABLE, ROWS, COLUMNS = 0, 1, 1, 2
Y = -1
CLAMP: dict[str, int | float] = {"clamp_min": -128, "clamp_max": 127}
OUT: dict[str, int | float] = {"out_zero_point": 0, **CLAMP}
LARGEST = 2**31 - 1


def operation(
    operator: str,
    inputs: Mapping[str, tuple[tuple[int, ...], str]],
    y: tuple[tuple[int, ...], str],
    params: Mapping[str, int | float],
    *constants: Value,
) -> Operation:
    values: list[Value | None] = [Value(name, *kind) for name, kind in inputs.items()]
    return Operation(operator, [*values, *constants], [Value("y", *y)], dict(params), operator)


def indexed(name: str, *values: int) -> dict[str, int | float]:
    return {f"{name}_{i}": value for i, value in enumerate(values)}


def add() -> Operation:
    params: dict[str, int | float] = {
        "a_multiplier": 1, "b_multiplier": 1, "bias_low": 0, "bias_high": 0, "shift": 0,
    }  # fmt: skip
    operands = {"a": ((2, 3, 4), "int8"), "b": ((1, 4), "int8")}
    return operation("add", operands, ((2, 3, 4), "int8"), {**params, **OUT})


def add_s16() -> Operation:
    changed = add()
    changed.inputs[:] = [Value("a", (2, 3, 4), "int16"), Value("b", (1, 4), "int16")]
    changed.outputs[0] = Value("y", (2, 3, 4), "int16")
    return changed


def mul() -> Operation:
    params = {"a_zero_point": 0, "b_zero_point": 0, "multiplier": 1.0, **OUT}
    operands = {"a": ((2, 3, 4), "int8"), "b": ((1, 4), "int8")}
    return operation("mul", operands, ((2, 3, 4), "int8"), params)


def maximum() -> Operation:
    operands = {"a": ((2, 3, 4), "int8"), "b": ((1, 4), "int8")}
    return operation("maximum", operands, ((2, 3, 4), "int8"), {"reserved": 0})


def minimum() -> Operation:
    operands = {"a": ((2, 3, 4), "int8"), "b": ((1, 4), "int8")}
    return operation("minimum", operands, ((2, 3, 4), "int8"), {"reserved": 0})


def lut8() -> Operation:
    table = constant("table", np.zeros(256, np.int16))
    return operation("lut8", {"x": ((2, 3), "int8")}, ((2, 3), "int16"), {"reserved": 0}, table)


def lut16() -> Operation:
    table = constant("table", np.zeros(513, np.int16))
    return operation("lut16", {"x": ((2, 3), "int16")}, ((2, 3), "int16"), {"reserved": 0}, table)


def requantize() -> Operation:
    params = {"in_zero_point": 0, "multiplier": 1.0, **OUT}
    return operation("requantize", {"x": ((2, 3), "int16")}, ((2, 3), "int8"), params)


def quantize() -> Operation:
    params = {"factor": 1.0, "divide": 0, "zero_point": 0, **CLAMP}
    return operation("quantize", {"x": ((2, 3), "float32")}, ((2, 3), "int8"), params)


def dequantize() -> Operation:
    params = {"scale": 1.0, "zero_point": 0}
    return operation("dequantize", {"x": ((2, 3), "int8")}, ((2, 3), "float32"), params)


POOL: dict[str, int | float] = {
    "kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "pad_top": 1, "pad_left": 1,
}  # fmt: skip


def avg_pool2d() -> Operation:
    params = {
        **POOL, "count_include_pad": 0, "integer_mean": 0, "in_zero_point": 0, "multiplier": 1.0,
        **OUT,
    }  # fmt: skip
    return operation("avg_pool2d", {"x": ((2, 6, 7, 5), "int8")}, ((2, 6, 7, 5), "int8"), params)


def max_pool2d() -> Operation:
    params = {**POOL, "dilation_h": 1, "dilation_w": 1, **CLAMP}
    return operation("max_pool2d", {"x": ((2, 6, 7, 5), "int8")}, ((2, 6, 7, 5), "int8"), params)


def reduce_sum() -> Operation:
    params = {"axes": 6, "multiplier": 1.0, "offset": 0.0, **CLAMP}
    return operation("reduce_sum", {"x": ((2, 6, 7, 5), "int8")}, ((2, 1, 1, 5), "int8"), params)


def softmax() -> Operation:
    table = constant("table", np.exp(-0.1 * np.arange(256)).astype(np.float32))
    params = {"out_scale": 1 / 256, **OUT}
    return operation("softmax", {"x": ((2, 9), "int8")}, ((2, 9), "int8"), params, table)


def softmax_s16() -> Operation:
    table = constant("table", np.tile(np.exp(-0.1 * np.arange(256)), 2).astype(np.float32))
    params = {"out_scale": 1 / 256, **OUT}
    return operation("softmax", {"x": ((2, 9), "int16")}, ((2, 9), "int16"), params, table)


def concat() -> Operation:
    inputs = {"a": ((2, 3, 4), "int8"), "b": ((2, 5, 4), "int8")}
    return operation("concat", inputs, ((2, 8, 4), "int8"), {"axis": 1})


def slice_() -> Operation:
    params = {**indexed("begin", 0, 5, 1, 0, 0, 0), **indexed("stride", 1, -2, 1, 1, 1, 1)}
    return operation("slice", {"x": ((2, 6, 7), "int8")}, ((2, 3, 6), "int8"), params)


def pad() -> Operation:
    params = {**indexed("before", 0, 2, 1, 0, 0, 0), "mode": 0, "value": 0}
    return operation("pad", {"x": ((2, 3, 4), "int8")}, ((2, 7, 6), "int8"), params)


def transpose() -> Operation:
    params = indexed("perm", 2, 0, 1, 3, 4, 5)
    return operation("transpose", {"x": ((2, 3, 4), "int8")}, ((4, 2, 3), "int8"), params)


def copy() -> Operation:
    return operation("copy", {"x": ((2, 3, 4), "int8")}, ((6, 4), "int8"), {"reserved": 0})


def resize_nearest() -> Operation:
    tables = [
        constant("rows", np.array([0, 0, 1, 2, 5], np.int32)),
        constant("columns", np.array([0, 3, 6], np.int32)),
    ]
    x, y = {"x": ((2, 6, 7, 5), "int8")}, ((2, 5, 3, 5), "int8")
    return operation("resize_nearest", x, y, {"reserved": 0}, *tables)


def resize_bilinear() -> Operation:
    tables = [
        constant("rows", np.array([[0, 1, 0], [2, 3, 2048], [5, 5, 7]], np.int32)),
        constant("columns", np.array([[0, 0, 1], [5, 6, 2]], np.int32)),
    ]
    x, y = {"x": ((2, 6, 7, 5), "int8")}, ((2, 3, 2, 5), "int8")
    return operation("resize_bilinear", x, y, {"fraction_bits": 11, "half_away": 0}, *tables)


def gather() -> Operation:
    indices = constant("indices", np.array([0, 4, -5], np.int32))
    return operation(
        "gather", {"x": ((2, 5, 3), "int8")}, ((2, 3, 3), "int8"), {"axis": 1}, indices
    )


def argmax() -> Operation:
    params: dict[str, int | float] = {"axis": 1, "select_last": 0, "minimum": 0}
    return operation("argmax", {"x": ((2, 5, 3), "int8")}, ((2, 3), "int32"), params)


GOOD = [
    add, add_s16, mul, maximum, minimum, lut8, lut16, requantize, quantize, dequantize, avg_pool2d,
    max_pool2d, reduce_sum, softmax, softmax_s16, concat, slice_, pad, transpose, copy,
    resize_nearest, resize_bilinear, gather, argmax,
]  # fmt: skip

OUT_REFUSALS: list[tuple[Change, str]] = [
    (param("out_zero_point", 128), "out_zero_point: is 128, must be from -128 to 127"),
    (param("clamp_min", -129), "clamp_min: is -129, must be from -128 to 127"),
    (param("clamp_max", -129), "clamp_max: is -129, must be from -128 to 127"),
    (both(param("clamp_min", 3), param("clamp_max", 2)), "clamp_max: is 2, must be from 3 to 127"),
]

BROADCAST_REFUSALS: list[tuple[Change, str]] = [
    (without(0), "a: is absent, must be given"),
    (without(1), "b: is absent, must be given"),
    (activation(0, (2, 3, 4), "uint8"), "a: dtype is uint8, must be that of y, int8"),
    (activation(1, (2, 3, 4), "int16"), "b: dtype is int16, must be that of y, int8"),
    (activation(0, (1, 2, 3, 4)), "a: shape is .1,2,3,4., rank must be from 0 to 3"),
    (activation(1, (2, 4)), "b: shape is .2,4., axis 0 must have 3 elements"),
    (activation(1, (5,)), "b: shape is .5., axis 0 must have 4 elements"),
    # Larger than what the operands broadcast to.
    (activation(Y, (1, 2, 3, 4)), "y: shape is .1,2,3,4., rank must be from 0 to 3"),
    (activation(0, (2, 1, 4)), "y: shape is .2,3,4., axis 1 must have 1 elements"),
]

POOL_REFUSALS: list[tuple[Change, str]] = [
    (activation(X, (12, 7, 5)), "x: shape is .12,7,5., rank must be 4"),
    (activation(Y, (12, 7, 5)), "y: shape is .12,7,5., rank must be 4"),
    (activation(X, (2, 6, 7, 5), "int32"), "x: dtype is int32"),
    (activation(Y, (2, 6, 7, 5), "int16"), "y: dtype is int16, must be that of x, int8"),
    (activation(Y, (1, 6, 7, 5)), "y: shape is .1,6,7,5., axis 0 must have 2 elements"),
    (activation(Y, (2, 6, 7, 4)), "y: shape is .2,6,7,4., axis 3 must have 5 elements"),
    (param("kernel_h", 0), f"kernel_h: is 0, must be from 1 to {LARGEST}"),
    (param("kernel_w", -1), f"kernel_w: is -1, must be from 1 to {LARGEST}"),
    (param("stride_h", 0), "stride_h: is 0, must be from 1 to 65535"),
    (param("stride_w", 65536), "stride_w: is 65536, must be from 1 to 65535"),
    (param("pad_top", -1), "pad_top: is -1, must be from 0 to 65535"),
    (param("pad_left", 65536), "pad_left: is 65536, must be from 0 to 65535"),
    (param("pad_top", 3), "y: height 6: the last tap of the first window is at -1, must be inside"),
    (param("pad_left", 4), "y: width 7: the last tap of the first window is at -2"),
    (activation(Y, (2, 8, 7, 5)), "y: height 8: the last window starts at 6, must start inside"),
    (activation(Y, (2, 6, 9, 5)), "y: width 9: the last window starts at 7, must start inside"),
    (param("clamp_min", -129), "clamp_min: is -129, must be from -128 to 127"),
    (param("clamp_max", 128), "clamp_max: is 128, must be from -128 to 127"),
]


def large_window(change: Operation) -> None:
    """2049 * 2048 taps in a window: more than int32 sums are promised to hold."""
    change.inputs[0] = Value("x", (1, 2049, 2048, 1), "int8")
    change.outputs[0] = Value("y", (1, 1, 1, 1), "int8")
    change.params.update(kernel_h=4096, kernel_w=4096, pad_top=0, pad_left=0)


def many_terms(change: Operation) -> None:
    """One more element in a sum than int32 holds for uint8."""
    change.inputs[0] = Value("x", (2**23 + 1,), "int8")
    change.outputs[0] = Value("y", (), "int8")
    change.params.update(axes=1)


REFUSALS: list[tuple[Callable[[], Operation], Change, str]] = [
    *((add, *refusal) for refusal in BROADCAST_REFUSALS),
    *((add, *refusal) for refusal in OUT_REFUSALS),
    (add, activation(Y, (2, 3, 4), "uint8"), "y: dtype is uint8, must be int8 or int16"),
    (add, param("shift", 31), "shift: is 31, must be from 0 to 30"),
    (add, param("shift", -1), "shift: is -1, must be from 0 to 30"),
    (add, param("bias_high", 1), "bias: is 4294967296, must be from -2147483648 to 2147483647"),
    (add, param("bias_low", -1), "bias: is 4294967295"),
    (
        add,
        both(param("a_multiplier", 2**23), param("b_multiplier", -(2**23))),
        "128 . .|a_multiplier. . .b_multiplier.. . .bias.: is 2147483648, must be from 0 to",
    ),
    (add, param("a_multiplier", -(2**31)), "is 274877907072, must be from 0 to 2147483647"),
    (add, both(param("bias_low", LARGEST), param("b_multiplier", 0)), "is 2147483775"),
    (add_s16, param("shift", 63), "shift: is 63, must be from 0 to 62"),
    (add_s16, param("bias_high", 2**30 + 1), "bias: is 4611686022722355200"),
    (add_s16, param("bias_high", -(2**31)), "bias: is -9223372036854775808"),
    (add_s16, param("out_zero_point", 32768), "out_zero_point: is 32768"),
    *((mul, *refusal) for refusal in BROADCAST_REFUSALS),
    *((mul, *refusal) for refusal in OUT_REFUSALS),
    (mul, activation(Y, (2, 3, 4), "int32"), "y: dtype is int32, must be int8 or int16"),
    (mul, param("a_zero_point", 128), "a_zero_point: is 128, must be from -128 to 127"),
    (mul, param("b_zero_point", -129), "b_zero_point: is -129, must be from -128 to 127"),
    (mul, param("multiplier", np.inf), "multiplier: is inf, must be finite"),
    (mul, param("multiplier", np.nan), "multiplier: is -?nan, must be finite"),
    *((maximum, *refusal) for refusal in BROADCAST_REFUSALS),
    (maximum, activation(Y, (2, 3, 4), "float32"), "y: dtype is float32, must be int8 or uint8"),
    (maximum, param("reserved", 1), "reserved: is 1, must be from 0 to 0"),
    *((minimum, *refusal) for refusal in BROADCAST_REFUSALS),
    (minimum, activation(Y, (2, 3, 4), "int64"), "y: dtype is int64, must be int8 or uint8"),
    (minimum, param("reserved", -1), "reserved: is -1, must be from 0 to 0"),
    (lut8, activation(X, (2, 3), "int16"), "x: dtype is int16, must be int8 or uint8"),
    (lut8, activation(Y, (3, 2), "int16"), "y: shape is .3,2., must be that of x, .2,3."),
    (lut8, activation(Y, (2, 3), "int8"), "table: dtype is int16, must be int8"),
    (lut8, activation(TABLE, (256,), "int16"), "table: is an activation, must be a constant"),
    (lut8, data(TABLE, lambda t: t[:255]), "table: has 255 elements, must have at least 256"),
    (lut8, without(TABLE), "table: is absent, must be given"),
    (lut8, param("reserved", 1), "reserved: is 1"),
    (lut16, activation(X, (2, 3), "int8"), "x: dtype is int8, must be int16"),
    (lut16, activation(Y, (2, 3), "int32"), "y: dtype is int32, must be that of x, int16"),
    (lut16, activation(Y, (6,), "int16"), "y: shape is .6., must be that of x, .2,3."),
    (lut16, data(TABLE, lambda t: t[:512]), "table: has 512 elements, must have at least 513"),
    (lut16, activation(TABLE, (513,), "int16"), "table: is an activation, must be a constant"),
    (lut16, param("reserved", 1), "reserved: is 1"),
    *((requantize, *refusal) for refusal in OUT_REFUSALS),
    (requantize, activation(X, (2, 3), "int64"), "x: dtype is int64"),
    (requantize, activation(Y, (2, 3), "int32"), "y: dtype is int32"),
    (requantize, activation(Y, (3, 2)), "y: shape is .3,2., must be that of x, .2,3."),
    (requantize, param("in_zero_point", 32768), "in_zero_point: is 32768"),
    (requantize, param("multiplier", -np.inf), "multiplier: is -inf, must be finite"),
    (quantize, activation(X, (2, 3), "int32"), "x: dtype is int32, must be float32"),
    (quantize, activation(Y, (2, 3), "int32"), "y: dtype is int32"),
    (quantize, activation(Y, (6,)), "y: shape is .6., must be that of x, .2,3."),
    (quantize, param("factor", 0.0), "factor: is 0, must be finite and above zero"),
    (quantize, param("factor", -1.0), "factor: is -1, must be finite and above zero"),
    (quantize, param("factor", np.nan), "factor: is -?nan, must be finite and above zero"),
    (quantize, param("divide", 2), "divide: is 2, must be from 0 to 1"),
    (quantize, param("zero_point", 128), "zero_point: is 128, must be from -128 to 127"),
    (quantize, param("clamp_max", 128), "clamp_max: is 128"),
    (dequantize, activation(X, (2, 3), "float32"), "x: dtype is float32"),
    (dequantize, activation(Y, (2, 3), "int8"), "y: dtype is int8, must be float32"),
    (dequantize, activation(Y, (6,), "float32"), "y: shape is .6., must be that of x"),
    (dequantize, param("scale", np.inf), "scale: is inf, must be finite"),
    (dequantize, param("zero_point", -129), "zero_point: is -129"),
    *((avg_pool2d, *refusal) for refusal in POOL_REFUSALS),
    (avg_pool2d, large_window, "taps in a window: is 4196352, must be from 1 to 4194304"),
    (avg_pool2d, param("count_include_pad", 2), "count_include_pad: is 2"),
    (avg_pool2d, param("integer_mean", -1), "integer_mean: is -1"),
    (avg_pool2d, param("in_zero_point", 128), "in_zero_point: is 128"),
    (avg_pool2d, param("multiplier", np.nan), "multiplier: is -?nan"),
    (avg_pool2d, param("out_zero_point", 128), "out_zero_point: is 128"),
    *((max_pool2d, *refusal) for refusal in POOL_REFUSALS),
    (max_pool2d, param("dilation_h", 0), "dilation_h: is 0, must be from 1 to 65535"),
    (max_pool2d, param("dilation_w", 65536), "dilation_w: is 65536, must be from 1 to 65535"),
    (max_pool2d, param("dilation_h", 7), "dilation along height: is 7, must not exceed .* 6"),
    (reduce_sum, activation(X, (2, 6, 7, 5), "int32"), "x: dtype is int32"),
    (reduce_sum, activation(Y, (2, 5), "int16"), "y: dtype is int16, must be that of x, int8"),
    (reduce_sum, param("axes", 16), "axes: is 16, must be from 0 to 15"),
    (reduce_sum, param("axes", -1), "axes: is -1, must be from 0 to 15"),
    (reduce_sum, activation(Y, (2, 1, 5)), "y: shape is .2,1,5., rank must be 2"),
    (reduce_sum, activation(Y, (2, 4)), "y: shape is .2,4., axis 1 must have 5 elements"),
    (reduce_sum, activation(Y, (2, 1, 7, 5)), "y: shape is .2,1,7,5., axis 2 must have 1"),
    (reduce_sum, many_terms, "elements in a sum: is 8388609, must be from 1 to 8388608"),
    (reduce_sum, param("multiplier", np.inf), "multiplier: is inf"),
    (reduce_sum, param("offset", np.nan), "offset: is -?nan"),
    (reduce_sum, param("clamp_max", 128), "clamp_max: is 128"),
    *((softmax, *refusal) for refusal in OUT_REFUSALS),
    (softmax, activation(X, (2, 9), "uint8"), "x: dtype is uint8, must be int8 or int16"),
    (softmax, both(activation(X, ()), activation(Y, ())), "x: shape is .., rank must be from 1"),
    (softmax, activation(Y, (2, 9), "int32"), "y: dtype is int32"),
    (softmax, activation(Y, (9, 2)), "y: shape is .9,2., must be that of x"),
    (softmax, activation(TABLE, (256,), "float32"), "table: is an activation"),
    (softmax, data(TABLE, lambda t: t[:255]), "table: has 255 elements"),
    (softmax, activation(X, (2, 9), "int16"), "y: .*|table: has 256 elements, .* at least 512"),
    (softmax, poke(TABLE, 255, np.nan), "table: entry 255 is -?nan, must be finite"),
    (softmax, poke(TABLE, 5, -0.1), "table: entry 5 is -0.1, must be from 0 to 1"),
    (softmax, poke(TABLE, 6, 1.5), "table: entry 6 is 1.5, must be from 0 to 1"),
    (softmax, poke(TABLE, 0, 0.5), "table: entry 0 is 0.5, must be 1"),
    (softmax_s16, poke(TABLE, 256, 0.5), "table: entry 256 is 0.5, must be 1"),
    (softmax_s16, data(TABLE, lambda t: t[:511]), "table: has 511 elements"),
    (softmax, param("out_scale", 0.0), "out_scale: is 0, must be a normal number above zero"),
    (softmax, param("out_scale", 2.0**-127), "out_scale: is 5.8.*e-39, must be a normal number"),
    (softmax, param("out_scale", np.inf), "out_scale: is inf, must be finite"),
    (concat, without(1), "x: is absent, must be given"),
    (concat, activation(1, (2, 5, 4), "uint8"), "x: dtype is uint8, must be that of y, int8"),
    (concat, activation(1, (2, 20)), "x: shape is .2,20., rank must be 3"),
    (concat, activation(1, (2, 5, 3)), "x: shape is .2,5,3., axis 2 must have 4 elements"),
    (concat, activation(1, (2, 6, 4)), "y: shape is .2,8,4., axis 1 must have 9 elements"),
    (concat, param("axis", 3), "axis: is 3, must be from 0 to 2"),
    (concat, param("axis", -1), "axis: is -1, must be from 0 to 2"),
    (concat, activation(Y, ()), "y: shape is .., rank must be from 1 to 6"),
    (slice_, activation(Y, (2, 3, 6), "int16"), "y: dtype is int16, must be that of x"),
    (slice_, activation(Y, (6, 6)), "y: shape is .6,6., rank must be 3"),
    (slice_, param("begin_0", -1), "begin_0: is -1, must be from 0 to 1"),
    (slice_, param("begin_1", 6), "begin_1: is 6, must be from 0 to 5"),
    (slice_, param("stride_1", 0), "stride_1: is 0, must not be"),
    (slice_, param("stride_1", -3), "last position on axis 1: is -1, must be from 0 to 5"),
    (slice_, param("stride_2", LARGEST), "last position on axis 2: is 10737418236, must be"),
    (slice_, activation(Y, (2, 3, 7)), "last position on axis 2: is 7, must be from 0 to 6"),
    (pad, activation(Y, (2, 7, 6), "int16"), "y: dtype is int16, must be that of x"),
    (pad, activation(Y, (14, 6)), "y: shape is .14,6., rank must be 3"),
    (pad, both(activation(X, ()), activation(Y, ())), "x: shape is .., rank must be from 1 to 6"),
    (pad, param("mode", 4), "mode: is 4, must be from 0 to 3"),
    (pad, param("before_0", -1), "before_0: is -1, must be from 0 to"),
    (pad, param("before_1", 5), "elements after axis 1: is -1, must be from 0 to"),
    (pad, activation(Y, (1, 7, 6)), "elements after axis 0: is -1, must be from 0 to"),
    (pad, both(param("mode", 1), param("before_1", 3)), "before_1: is 3, must be from 0 to 2"),
    (pad, both(param("mode", 1), param("before_1", 1)), "after axis 1: is 3, must be from 0 to 2"),
    (pad, both(param("mode", 2), param("before_1", 0)), "after axis 1: is 4, must be from 0 to 3"),
    (transpose, activation(Y, (4, 2, 3), "int16"), "y: dtype is int16, must be that of x"),
    (transpose, activation(Y, (8, 3)), "y: shape is .8,3., rank must be 3"),
    (transpose, param("perm_0", 3), "perm: entry 0 is 3, must be from 0 to 2"),
    (transpose, param("perm_2", -1), "perm: entry 2 is -1, must be from 0 to 2"),
    (transpose, param("perm_1", 2), "perm: entry 1 is 2 again, must be a permutation"),
    (transpose, activation(Y, (4, 3, 2)), "y: shape is .4,3,2., axis 1 must have 2 elements"),
    (copy, activation(Y, (6, 4), "uint8"), "y: dtype is uint8, must be that of x, int8"),
    (copy, activation(Y, (5, 5)), "y: has 25 elements, must have as many as x, 24"),
    (copy, param("reserved", 1), "reserved: is 1"),
    (resize_nearest, activation(X, (12, 7, 5)), "x: shape is .12,7,5., rank must be 4"),
    (resize_nearest, activation(Y, (10, 3, 5)), "y: shape is .10,3,5., rank must be 4"),
    (resize_nearest, activation(Y, (2, 5, 3, 5), "int16"), "y: dtype is int16"),
    (resize_nearest, activation(Y, (1, 5, 3, 5)), "y: .* axis 0 must have 2 elements"),
    (resize_nearest, activation(Y, (2, 5, 3, 4)), "y: .* axis 3 must have 5 elements"),
    (resize_nearest, activation(ROWS, (5,), "int32"), "rows: is an activation, must be a constant"),
    (resize_nearest, activation(Y, (2, 6, 3, 5)), "rows: has 5 elements, must have at least 6"),
    (resize_nearest, activation(Y, (2, 5, 4, 5)), "columns: has 3 elements, .* at least 4"),
    (resize_nearest, data(ROWS, lambda t: t.astype(np.int64)), "rows: dtype is int64"),
    (resize_nearest, poke(ROWS, 4, 6), "rows: is 6, must be from 2 to 5"),
    (resize_nearest, poke(ROWS, 0, -1), "rows: is -1, must be from 0 to 5"),
    (resize_nearest, poke(COLUMNS, 2, 7), "columns: is 7, must be from 3 to 6"),
    (resize_nearest, poke(COLUMNS, 1, 7), "columns: is 7, must be from 0 to 6"),
    (resize_nearest, poke(ROWS, 3, 0), "rows: is 0, must be from 1 to 5"),
    (resize_nearest, param("reserved", 1), "reserved: is 1"),
    (resize_bilinear, activation(X, (2, 6, 7, 5), "int32"), "x: dtype is int32"),
    (resize_bilinear, activation(Y, (2, 3, 2, 5), "uint8"), "y: dtype is uint8"),
    (resize_bilinear, activation(Y, (2, 3, 2, 6)), "y: .* axis 3 must have 5 elements"),
    (resize_bilinear, param("fraction_bits", 0), "fraction_bits: is 0, must be from 1 to 20"),
    (resize_bilinear, param("fraction_bits", 21), "fraction_bits: is 21, must be from 1 to 20"),
    (resize_bilinear, param("half_away", 2), "half_away: is 2, must be from 0 to 1"),
    (resize_bilinear, activation(Y, (2, 4, 2, 5)), "rows: has 9 elements, .* at least 12"),
    (resize_bilinear, activation(Y, (2, 3, 3, 5)), "columns: has 6 elements, .* at least 9"),
    (resize_bilinear, poke(ROWS, 6, 6), "rows: is 6, must be from 2 to 5"),
    (resize_bilinear, poke(ROWS, 7, 6), "rows: is 6, must be from 5 to 5"),
    (resize_bilinear, poke(ROWS, 3, -1), "rows: is -1, must be from 0 to 5"),
    (resize_bilinear, poke(ROWS, 4, 1), "rows: is 1, must be from 2 to 5"),
    (resize_bilinear, poke(ROWS, 1, 4), "rows: is 3, must be from 4 to 5"),
    (resize_bilinear, poke(COLUMNS, 5, 2049), "columns: is 2049, must be from 0 to 2048"),
    (resize_bilinear, poke(COLUMNS, 2, -1), "columns: is -1, must be from 0 to 2048"),
    (gather, activation(Y, (2, 3, 3), "int16"), "y: dtype is int16, must be that of x"),
    (gather, data(1, lambda i: i.astype(np.int16)), "indices: dtype is int16"),
    (gather, without(1), "indices: is absent"),
    (gather, activation(X, ()), "x: shape is .., rank must be from 1 to 6"),
    (gather, param("axis", 3), "axis: is 3, must be from 0 to 2"),
    (gather, param("axis", -1), "axis: is -1, must be from 0 to 2"),
    (gather, data(1, lambda i: i.reshape(3, 1)), "y: shape is .2,3,3., rank must be 4"),
    (gather, activation(Y, (2, 4, 3)), "y: shape is .2,4,3., axis 1 must have 3 elements"),
    (gather, activation(Y, (2, 3, 4)), "y: shape is .2,3,4., axis 2 must have 3 elements"),
    (gather, poke(1, 2, 5), "indices: entry 2 is 5, must be from -5 to 4"),
    (gather, poke(1, 0, -6), "indices: entry 0 is -6, must be from -5 to 4"),
    (gather, data(1, lambda i: i + np.int64(2**32)), "indices: entry 0 is 4294967296"),
    (argmax, activation(X, (2, 5, 3), "int64"), "x: dtype is int64"),
    (argmax, activation(Y, (2, 3), "int8"), "y: dtype is int8, must be int32 or int64"),
    (argmax, activation(X, ()), "x: shape is .., rank must be from 1 to 6"),
    (argmax, param("axis", 3), "axis: is 3, must be from 0 to 2"),
    (argmax, param("axis", -1), "axis: is -1, must be from 0 to 2"),
    (argmax, activation(Y, (2, 5), "int32"), "y: shape is .2,5., axis 1 must have 3 elements"),
    (argmax, activation(Y, (2, 2, 3), "int32"), "y: shape is .2,2,3., axis 1 must have 1"),
    (argmax, param("select_last", 2), "select_last: is 2"),
    (argmax, param("minimum", 2), "minimum: is 2"),
]


test_open_refuses = open_refuses(REFUSALS)
test_open_accepts_what_the_changes_start_from = open_accepts(GOOD)


def gather_by_run() -> Operation:
    """Along the last axis, by indices that are data."""
    inputs = {"x": ((5,), "int8"), "indices": ((4, 3), "int64")}
    return operation("gather", inputs, ((4, 3), "int8"), {"axis": 0})


def some_rows(ratio: int) -> RowRange:
    return lambda begin, end: (begin // ratio, begin // ratio + 1)


@pytest.mark.parametrize(
    ("make", "reads", "message"),
    [
        # b repeats along an outer axis of y: its rows are not y's.
        (mul, [same_rows, some_rows(3)], "b: is a ring of 1 rows, must be whole, 2 rows"),
        (transpose, [some_rows(4)], "x: is a ring of 1 rows, must be whole, 6 rows"),
        (reduce_sum, [some_rows(1)], "x: is a ring of 1 rows, must be whole, 12 rows"),
        (argmax, [some_rows(1)], "x: is a ring of 1 rows, must be whole, 10 rows"),
        (
            gather_by_run,
            [lambda begin, end: (0, 1), some_rows(1)],
            "indices: is a ring of 1 rows, .* 4 rows",
        ),
        (gather, [some_rows(1)], "x: is a ring of 1 rows, must be whole, 10 rows"),
    ],
)
def test_open_refuses_rings_where_rows_do_not_follow_rows(make, reads, message: str) -> None:
    operation = make()
    if make is mul:
        operation.inputs[1] = Value("b", (2, 1, 4), "int8")
    with pytest.raises(edgeinfer.EdgeInferError, match=message):
        run_streamed(operation, inputs_of(operation), reads, 1)
