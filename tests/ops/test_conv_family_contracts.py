"""What the operators with constant weights and matrix products refuse when a file is opened: one
change of a good operation per rule, and the message that names it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.lower import pack
from edgeinfer.convert.program import Operation, Value
from tests.kernels.run_operation import constant, run_streamed, run_whole
from tests.ops.changes import (
    Change,
    activation,
    both,
    data,
    open_accepts,
    open_refuses,
    param,
    poke,
    without,
)

X, WEIGHTS, BIAS, MULTIPLIER, ZERO = range(5)
COMMON: dict[str, int | float] = {"out_zero_point": 0, "clamp_min": -128, "clamp_max": 127}
WINDOW: dict[str, int | float] = {
    "kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1,
    "pad_top": 1, "pad_left": 1,
}  # fmt: skip


def constants(weights: np.ndarray, channels: int) -> list[Value | None]:
    return [
        constant("weights", weights),
        constant("bias", pack.pack_channels(np.zeros(channels, np.int32))),
        constant("multiplier", pack.pack_channels(np.ones(channels, np.float32))),
    ]


def conv2d() -> Operation:
    """[2,6,7,5] -> [2,6,7,10], 3x3, padded by 1 on all sides."""
    weights = pack.pack_conv2d(np.ones((10, 3, 3, 5), np.int8))
    return Operation(
        "conv2d",
        [
            Value("x", (2, 6, 7, 5), "int8"), *constants(weights, 10),
            constant("zero", pack.zero_row(7, 5, 3, "int8")),
        ],
        [Value("y", (2, 6, 7, 10), "int8")],
        {**WINDOW, **COMMON, "groups": 1},
    )  # fmt: skip


def depthwise_conv2d() -> Operation:
    """[2,6,7,5] -> [2,6,7,10]."""
    weights = pack.pack_depthwise_conv2d(np.ones((3, 3, 10), np.int8))
    operation = conv2d()
    operation.inputs[WEIGHTS] = constant("weights", weights)
    params = {**WINDOW, **COMMON, "multiplier": 2}
    return Operation("depthwise_conv2d", operation.inputs, operation.outputs, params)


def transpose_conv2d() -> Operation:
    """[2,6,7,5] -> [2,6,7,10]."""
    weights = pack.pack_transpose_conv2d(np.ones((10, 3, 3, 5), np.int8))
    return Operation(
        "transpose_conv2d",
        [Value("x", (2, 6, 7, 5), "int8"), *constants(weights, 10)],
        [Value("y", (2, 6, 7, 10), "int8")],
        {**WINDOW, **COMMON, "groups": 1, "in_zero_point": 0},
    )


def fully_connected() -> Operation:
    """[4,6] -> [4,10]."""
    weights = pack.pack_fully_connected(np.ones((10, 6), np.int8))
    return Operation(
        "fully_connected",
        [Value("x", (4, 6), "int8"), *constants(weights, 10)],
        [Value("y", (4, 10), "int8")],
        dict(COMMON),
    )


def batch_matmul() -> Operation:
    """[2,3,4] x [2,4,5] -> [2,3,5]."""
    return Operation(
        "batch_matmul",
        [Value("a", (2, 3, 4), "int8"), Value("b", (2, 4, 5), "int8")],
        [Value("y", (2, 3, 5), "int8")],
        {"transpose_b": 0, "a_zero_point": 0, "b_zero_point": 0, "multiplier": 0.01, **COMMON},
    )


GOOD = [conv2d, depthwise_conv2d, transpose_conv2d, fully_connected, batch_matmul]


def unpadded(operation: Operation, out: tuple[int, int]) -> None:
    """No padding in front, no zero row, and this output size."""
    operation.params.update(pad_top=0, pad_left=0)
    operation.inputs[ZERO] = None
    operation.outputs[0] = Value("y", (2, *out, 10), "int8")


WINDOW_REFUSALS: list[tuple[Change, str]] = [
    (activation(X, (12, 7, 5)), "x: shape is .12,7,5., rank must be 4"),
    (activation(X, (2, 6, 7, 5), "uint8"), "x: dtype is uint8, must be int8 or int16"),
    (activation(-1, (2, 6, 7, 10), "int16"), "y: dtype is int16, must be that of x, int8"),
    (activation(-1, (12, 7, 10)), "y: shape is .12,7,10., rank must be 4"),
    (activation(-1, (1, 6, 7, 10)), "y: shape is .1,6,7,10., axis 0 must have 2 elements"),
    (param("kernel_h", 0), "kernel_h: is 0, must be from 1 to 4096"),
    (param("kernel_w", 4097), "kernel_w: is 4097, must be from 1 to 4096"),
    (param("stride_h", 0), "stride_h: is 0, must be from 1 to 65535"),
    (param("stride_w", -1), "stride_w: is -1, must be from 1 to 65535"),
    (param("dilation_h", 65536), "dilation_h: is 65536, must be from 1 to 65535"),
    (param("dilation_w", -(2**31)), "dilation_w: is -2147483648, must be from 1 to 65535"),
    (param("pad_top", -1), "pad_top: is -1, must be from 0 to 65535"),
    (param("pad_left", 2**31 - 1), "pad_left: is 2147483647, must be from 0 to 65535"),
    (activation(WEIGHTS, (1, 135, 16, 4)), "weights: is an activation, must be a constant"),
    (data(WEIGHTS, lambda w: w.reshape(-1)[:-1]), "weights: has .* elements, must have at least"),
    (data(WEIGHTS, lambda w: w.astype(np.int16)), "weights: dtype is int16, must be int8"),
    (poke(WEIGHTS, 40, 1), "weights: padding of the packed layout is not zero"),
    (data(BIAS, lambda b: b.astype(np.int64)), "bias: dtype is int64, must be int32"),
    (data(BIAS, lambda b: b[:15]), "bias: has 15 elements, must have at least 16"),
    (data(MULTIPLIER, lambda m: m[:10]), "multiplier: has 10 elements, must have at least 16"),
    (poke(MULTIPLIER, 9, np.nan), "multiplier: entry 9 is -?nan, must be finite"),
    (poke(MULTIPLIER, 15, np.inf), "multiplier: entry 15 is inf, must be finite"),
    (param("out_zero_point", 128), "out_zero_point: is 128, must be from -128 to 127"),
    (param("clamp_min", -129), "clamp_min: is -129, must be from -128 to 127"),
    (param("clamp_max", 128), "clamp_max: is 128, must be from -128 to 127"),
    (param("clamp_max", -129), "clamp_max: is -129, must be from -128 to 127"),
]

CONVOLUTION_REFUSALS: list[tuple[Change, str]] = [
    (activation(-1, (2, 65543, 7, 10)), "y: height 65543: the last window starts at 65541"),
    (activation(-1, (2, 6, 65544, 10)), "y: width 65544: the last window starts at 65542"),
    (without(ZERO), "zero: is absent, but windows reach from -1 to 6 of an input of height 6"),
    (lambda op: unpadded(op, (5, 5)), "zero: is absent, .* from 0 to 6 of an input of height 6"),
    (lambda op: unpadded(op, (4, 6)), "zero: is absent, .* from 0 to 7 of an input of width 7"),
    (data(ZERO, lambda z: z[:-1]), "zero: has 34 elements, must have at least 35"),
    (data(ZERO, lambda z: z.astype(np.int16)), "zero: dtype is int16, must be int8"),
    (poke(ZERO, 34, 4), "zero: entry 34 differs from the first"),
]

GROUP_REFUSALS: list[tuple[Change, str]] = [
    (param("groups", 0), "groups: is 0, must be from 1 to 5"),
    (param("groups", 3), "groups: is 3, must divide the 5 input and the 10 output channels"),
    (
        both(activation(-1, (2, 6, 7, 11)), param("groups", 5)),
        "groups: is 5, must divide the 5 input and the 11 output channels",
    ),
    # Five groups of two output channels: a tile each.
    (param("groups", 5), "bias: has 16 elements, must have at least 80"),
    (poke(WEIGHTS, 3 * 64 + 3, 1), "weights: padding of the packed layout is not zero"),
]

MATMUL_REFUSALS: list[tuple[Change, str]] = [
    (activation(0, (1, 2, 3, 4)), "a: shape is .1,2,3,4., rank must be 3"),
    (activation(1, (4, 5)), "b: shape is .4,5., rank must be 3"),
    (activation(-1, (5,)), "y: shape is .5., rank must be from 2 to 6"),
    (activation(0, (2, 3, 4), "uint8"), "a: dtype is uint8, must be int8 or int16"),
    (activation(1, (2, 4, 5), "int16"), "b: dtype is int16, must be that of a, int8"),
    (activation(-1, (2, 3, 5), "int16"), "y: dtype is int16, must be that of a, int8"),
    (activation(0, (3, 3, 4)), "a: shape is .3,3,4., axis 0 must have 2 elements"),
    (activation(1, (3, 4, 5)), "b: shape is .3,4,5., axis 0 must have 2 elements"),
    (activation(-1, (2, 2, 5)), "y: shape is .2,2,5., axis 1 must have 3 elements"),
    (activation(1, (2, 3, 5)), "b: shape is .2,3,5., axis 1 must have 4 elements"),
    (activation(1, (2, 4, 6)), "b: shape is .2,4,6., axis 2 must have 5 elements"),
    (param("transpose_b", 1), "b: shape is .2,4,5., axis 2 must have 4 elements"),
    (param("transpose_b", 2), "transpose_b: is 2, must be from 0 to 1"),
    (param("a_zero_point", 128), "a_zero_point: is 128, must be from -128 to 127"),
    (param("b_zero_point", -129), "b_zero_point: is -129, must be from -128 to 127"),
    (param("multiplier", np.inf), "multiplier: is inf, must be finite"),
    (param("out_zero_point", 300), "out_zero_point: is 300, must be from -128 to 127"),
    (param("clamp_max", 128), "clamp_max: is 128, must be from -128 to 127"),
]

REFUSALS: list[tuple[Callable[[], Operation], Change, str]] = [
    *((conv2d, *refusal) for refusal in WINDOW_REFUSALS),
    *((conv2d, *refusal) for refusal in CONVOLUTION_REFUSALS),
    *((conv2d, *refusal) for refusal in GROUP_REFUSALS),
    *((depthwise_conv2d, *refusal) for refusal in WINDOW_REFUSALS),
    *((depthwise_conv2d, *refusal) for refusal in CONVOLUTION_REFUSALS),
    (depthwise_conv2d, param("multiplier", 0), "multiplier: is 0, must be from 1 to 10"),
    (depthwise_conv2d, param("multiplier", 3), "y: .* axis 3 must have 15 elements"),
    # The tenth tap of a kernel with nine.
    (depthwise_conv2d, poke(WEIGHTS, 2 * 64 + 1, 1), "weights: padding of the packed layout"),
    *((transpose_conv2d, *refusal) for refusal in WINDOW_REFUSALS),
    *((transpose_conv2d, *refusal) for refusal in GROUP_REFUSALS),
    (transpose_conv2d, activation(-1, (2, 65543, 7, 10)), "y: height 65543: an input of 6"),
    (transpose_conv2d, activation(-1, (2, 6, 65544, 10)), "y: width 65544: an input of 7"),
    (transpose_conv2d, param("in_zero_point", 128), "in_zero_point: is 128"),
    (fully_connected, activation(X, (4, 6), "int32"), "x: dtype is int32"),
    (fully_connected, activation(-1, (4, 10), "int16"), "y: dtype is int16"),
    (fully_connected, activation(-1, (2, 2, 10)), "y: shape is .2,2,10., rank must be 2"),
    (fully_connected, activation(-1, (5, 10)), "y: shape is .5,10., axis 0 must have 4"),
    (fully_connected, activation(X, (4, 9)), "weights: has 128 elements, must have at least 192"),
    (fully_connected, activation(-1, (4, 17)), "bias: has 16 elements, must have at least 32"),
    (fully_connected, poke(WEIGHTS, 64 + 2, 1), "weights: padding of the packed layout"),
    (fully_connected, poke(MULTIPLIER, 0, -np.inf), "multiplier: entry 0 is -inf"),
    (fully_connected, param("out_zero_point", -129), "out_zero_point: is -129"),
    (fully_connected, param("clamp_min", 128), "clamp_min: is 128"),
    *((batch_matmul, *refusal) for refusal in MATMUL_REFUSALS),
]


test_open_refuses = open_refuses(REFUSALS)
test_open_accepts_what_the_changes_start_from = open_accepts(GOOD)


def test_open_refuses_a_second_matrix_in_a_ring() -> None:
    """Below rank 4 its rows are vectors, and the kernel wants the matrix as one array."""
    operation = batch_matmul()
    inputs = [np.zeros(value.shape, "int8") for value in operation.inputs if value is not None]
    reads = [
        lambda begin, end: (begin, end),
        lambda begin, end: (begin // 3 * 4, begin // 3 * 4 + 4),
    ]
    with pytest.raises(edgeinfer.EdgeInferError, match="b: is a ring of 4 rows, must be whole"):
        run_streamed(operation, inputs, reads, 1)


def test_a_convolution_that_never_leaves_the_image_needs_no_zero_row() -> None:
    operation = conv2d()
    unpadded(operation, (4, 5))
    x = np.ones((2, 6, 7, 5), np.int8)
    assert (run_whole(operation, [x]) == 45).all()
