"""What the operators on float32 with constant weights, and matrix products, refuse when a file is
opened: one change of a good operation per rule, and the message that names it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeinfer.convert.lower import pack, pack_float
from edgeinfer.convert.program import Operation, Value
from tests.kernels.run_operation import constant, run_whole
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

X, WEIGHTS, BIAS, ZERO = range(4)
COMMON: dict[str, int | float] = {"clamp_min": -np.inf, "clamp_max": np.inf}
WINDOW: dict[str, int | float] = {
    "kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1,
    "pad_top": 1, "pad_left": 1,
}  # fmt: skip


def constants(weights: np.ndarray) -> list[Value | None]:
    return [
        constant("weights", weights),
        constant("bias", pack.pack_channels(np.zeros(10, np.float32))),
    ]


def conv2d() -> Operation:
    """[2,6,7,5] -> [2,6,7,10], 3x3, padded by 1 on all sides."""
    weights = pack_float.pack_conv2d_float(np.ones((10, 3, 3, 5), np.float32))
    return Operation(
        "conv2d_f32",
        [
            Value("x", (2, 6, 7, 5), "float32"),
            *constants(weights),
            constant("zero", np.zeros(35, np.float32)),
        ],
        [Value("y", (2, 6, 7, 10), "float32")],
        {**WINDOW, **COMMON, "groups": 1},
    )


def depthwise_conv2d() -> Operation:
    """[2,6,7,5] -> [2,6,7,10]."""
    weights = pack_float.pack_depthwise_conv2d_float(np.ones((3, 3, 10), np.float32))
    inputs = [*conv2d().inputs]
    inputs[WEIGHTS] = constant("weights", weights)
    params = {**WINDOW, **COMMON, "multiplier": 2}
    return Operation("depthwise_conv2d_f32", inputs, conv2d().outputs, params)


def transpose_conv2d() -> Operation:
    """[2,6,7,5] -> [2,6,7,10]."""
    operation = conv2d()
    return Operation(
        "transpose_conv2d_f32", operation.inputs[:ZERO], operation.outputs, operation.params
    )


def fully_connected() -> Operation:
    """[4,6] -> [4,10]."""
    weights = pack_float.pack_fully_connected_float(np.ones((10, 6), np.float32))
    return Operation(
        "fully_connected_f32",
        [Value("x", (4, 6), "float32"), *constants(weights)],
        [Value("y", (4, 10), "float32")],
        dict(COMMON),
    )


def batch_matmul() -> Operation:
    """[2,3,4] x [2,4,5] -> [2,3,5]."""
    return Operation(
        "batch_matmul_f32",
        [Value("a", (2, 3, 4), "float32"), Value("b", (2, 4, 5), "float32")],
        [Value("y", (2, 3, 5), "float32")],
        {"transpose_b": 0, **COMMON},
    )


GOOD = [conv2d, depthwise_conv2d, transpose_conv2d, fully_connected, batch_matmul]


def half(weights: np.ndarray) -> np.ndarray:
    return weights.astype(np.float16)


WINDOW_REFUSALS: list[tuple[Change, str]] = [
    (activation(X, (12, 7, 5), "float32"), "x: shape is .12,7,5., rank must be 4"),
    (activation(X, (2, 6, 7, 5), "int8"), "x: dtype is int8, must be float32"),
    (activation(-1, (2, 6, 7, 10), "int16"), "y: dtype is int16, must be that of x, float32"),
    (activation(-1, (1, 6, 7, 10), "float32"), "y: .* axis 0 must have 2 elements"),
    (param("kernel_h", 0), "kernel_h: is 0, must be from 1 to 4096"),
    (param("pad_left", -1), "pad_left: is -1, must be from 0 to 65535"),
    (data(WEIGHTS, lambda w: w.reshape(-1)[:-1]), "weights: has .* elements, must have at least"),
    (data(WEIGHTS, lambda w: w.astype(np.int8)), "weights: dtype is int8, must be float32"),
    (data(BIAS, lambda b: b.astype(np.int32)), "bias: dtype is int32, must be float32"),
    (data(BIAS, lambda b: b[:15]), "bias: has 15 elements, must have at least 16"),
    (param("clamp_min", np.nan), "clamp_min: is -?nan, must be at most clamp_max"),
    (param("clamp_max", np.nan), "clamp_min: is -inf, must be at most clamp_max, -?nan"),
    (
        both(param("clamp_min", 1.0), param("clamp_max", 0.5)),
        "clamp_min: is 1, must be at most clamp_max, 0.5",
    ),
]

ZERO_REFUSALS: list[tuple[Change, str]] = [
    (without(ZERO), "zero: is absent, but windows reach from -1 to 6 of an input of height 6"),
    (data(ZERO, lambda z: z[:-1]), "zero: has 34 elements, must have at least 35"),
    (poke(ZERO, 34, 4), "zero: entry 34 differs from the first"),
    (data(ZERO, lambda z: z + 1), "zero: must be .0"),
    (data(ZERO, lambda z: -z), "zero: must be .0"),
]

GROUP_REFUSALS: list[tuple[Change, str]] = [
    (param("groups", 0), "groups: is 0, must be from 1 to 5"),
    (param("groups", 3), "groups: is 3, must divide the 5 input and the 10 output channels"),
    (param("groups", 5), "bias: has 16 elements, must have at least 80"),
]

REFUSALS: list[tuple[Callable[[], Operation], Change, str]] = [
    *((make, *refusal) for make in GOOD[:3] for refusal in WINDOW_REFUSALS),
    *((make, *refusal) for make in (conv2d, depthwise_conv2d) for refusal in ZERO_REFUSALS),
    *((make, *refusal) for make in (conv2d, transpose_conv2d) for refusal in GROUP_REFUSALS),
    (depthwise_conv2d, param("multiplier", 0), "multiplier: is 0, must be from 1 to 10"),
    (depthwise_conv2d, param("multiplier", 3), "y: .* axis 3 must have 15 elements"),
    (depthwise_conv2d, data(WEIGHTS, half), "weights: dtype is float16, must be float32"),
    (transpose_conv2d, data(WEIGHTS, half), "weights: dtype is float16, must be float32"),
    (fully_connected, activation(X, (4, 6), "int32"), "x: dtype is int32"),
    (fully_connected, activation(-1, (2, 2, 10), "float32"), "y: .* rank must be 2"),
    (fully_connected, activation(-1, (5, 10), "float32"), "y: .* axis 0 must have 4"),
    (fully_connected, activation(X, (4, 9), "float32"), "weights: has 96 .* at least 144"),
    (fully_connected, activation(-1, (4, 17), "float32"), "bias: has 16 .* at least 32"),
    (fully_connected, param("clamp_min", np.nan), "clamp_min: is -?nan"),
    (batch_matmul, activation(0, (1, 2, 3, 4), "float32"), "a: .* rank must be 3"),
    (batch_matmul, activation(0, (2, 3, 4), "int8"), "a: dtype is int8, must be float32"),
    (batch_matmul, activation(1, (2, 4, 5), "int16"), "b: dtype is int16"),
    (batch_matmul, activation(1, (3, 4, 5), "float32"), "b: .* axis 0 must have 2"),
    (batch_matmul, param("transpose_b", 2), "transpose_b: is 2, must be from 0 to 1"),
    (batch_matmul, param("clamp_max", np.nan), "clamp_max, -?nan"),
]


test_open_refuses = open_refuses(REFUSALS)
test_open_accepts_what_the_changes_start_from = open_accepts(GOOD)


@pytest.mark.parametrize("make", [conv2d, fully_connected])
def test_open_accepts_float16_weights(make) -> None:
    operation = make()
    data(WEIGHTS, half)(operation)
    inputs = [np.ones_like(values) for values in inputs_of(operation)]
    np.testing.assert_array_equal(run_whole(operation, inputs), run_whole(make(), inputs))
