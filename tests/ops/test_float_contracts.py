"""What operators on float32 refuse when a file is opened: one change of a good operation per rule,
and the message that names it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Operation, Value
from tests.kernels.run_operation import constant, run_streamed
from tests.ops.changes import (
    Change,
    activation,
    data,
    inputs_of,
    open_accepts,
    open_refuses,
    param,
    poke,
)
from tests.ops.test_contracts import BROADCAST_REFUSALS, X, Y, operation, some_rows

BOUNDS: dict[str, int | float] = {"clamp_min": -1.0, "clamp_max": np.inf}
F32 = "float32"
COLUMNS_AT = 3


def binary_f32() -> Operation:
    operands = {"a": ((2, 3, 4), F32), "b": ((1, 4), F32)}
    return operation("binary_f32", operands, ((2, 3, 4), F32), {"kind": 10, **BOUNDS})


def unary_f32() -> Operation:
    params: dict[str, int | float] = {"kind": 65, "alpha": 1.0, "beta": 1.0, "gamma": 1.0, **BOUNDS}
    return operation("unary_f32", {"x": ((2, 3), F32)}, ((2, 3), F32), params)


def unary_f32_exp() -> Operation:
    changed = unary_f32()
    changed.params["kind"] = 1
    return changed


def pool2d_f32() -> Operation:
    names = ("kernel", "stride", "dilation")
    params: dict[str, int | float] = {f"{name}_{side}": 1 for name in names for side in "hw"}
    params |= {"kind": 1, "kernel_h": 2, "pad_top": 1, "pad_left": 0, "count_include_pad": 1}
    return operation("pool2d_f32", {"x": ((2, 3, 4, 5), F32)}, ((2, 3, 4, 5), F32), params | BOUNDS)


def reduce_f32() -> Operation:
    params: dict[str, int | float] = {"axes": 1, "kind": 9, **BOUNDS}
    return operation("reduce_f32", {"x": ((3, 4, 5), F32)}, ((4, 5), F32), params)


def softmax_f32() -> Operation:
    params: dict[str, int | float] = {"beta": 1.0, "logarithm": 1}
    return operation("softmax_f32", {"x": ((3, 4), F32)}, ((3, 4), F32), params)


def layer_norm_f32() -> Operation:
    params: dict[str, int | float] = {"centred": 1, "epsilon": 1e-5}
    inputs = {"x": ((3, 4), F32), "scale": ((4,), F32), "bias": ((4,), F32)}
    return operation("layer_norm_f32", inputs, ((3, 4), F32), params)


def resize_f32() -> Operation:
    tables = []
    for name, size, taps in (("rows", 3, 2), ("columns", 4, 1)):
        indices = np.arange(size * taps, dtype=np.int32).reshape(size, taps) // taps
        tables.append(constant(name, indices))
        tables.append(constant(f"{name} weights", np.ones((size, taps), np.float32)))
    params: dict[str, int | float] = {"row_taps": 2, "column_taps": 1}
    inputs = {"x": ((2, 3, 4, 5), F32)}
    return operation("resize_f32", inputs, ((2, 3, 4, 5), F32), params, *tables)


GOOD = [
    binary_f32,
    unary_f32,
    unary_f32_exp,
    pool2d_f32,
    reduce_f32,
    softmax_f32,
    layer_norm_f32,
    resize_f32,
]

BOUNDS_REFUSALS: list[tuple[Change, str]] = [
    (param("clamp_max", -2.0), "clamp_min: is -1, must be at most clamp_max, -2"),
    (param("clamp_max", np.nan), "clamp_min: is -1, must be at most clamp_max, -?nan"),
    (param("clamp_min", np.nan), "clamp_min: is -?nan, must be at most clamp_max, inf"),
]

REFUSALS: list[tuple[Callable[[], Operation], Change, str]] = [
    *((binary_f32, *refusal) for refusal in BROADCAST_REFUSALS[:2]),
    *((make, *refusal) for make in (binary_f32, unary_f32, pool2d_f32, reduce_f32)
      for refusal in BOUNDS_REFUSALS),
    (binary_f32, activation(Y, (2, 3, 4)), "y: dtype is int8, must be float32"),
    (binary_f32, activation(X, (2, 3, 4)), "a: dtype is int8, must be that of y, float32"),
    (binary_f32, activation(1, (5,), F32), "b: shape is .5., axis 0 must have 4 elements"),
    (binary_f32, param("kind", 11), "kind: is 11, must be from 0 to 10"),
    (binary_f32, param("kind", -1), "kind: is -1, must be from 0 to 10"),
    (unary_f32, activation(X, (2, 3)), "x: dtype is int8, must be float32"),
    (unary_f32, activation(Y, (2, 3)), "y: dtype is int8, must be that of x, float32"),
    (unary_f32, activation(Y, (3, 2), F32), "y: shape is .3,2., must be that of x"),
    (unary_f32, param("kind", -1), "kind: is -1, must be from 0 to 76"),
    (unary_f32, param("kind", 77), "kind: is 77, must be from 0 to 76"),
    (unary_f32, param("kind", 27), "kind: is 27, must be from 65 to 76"),
    (unary_f32, param("kind", 64), "kind: is 64, must be from 65 to 76"),
    *((unary_f32, param(name, np.inf), f"{name}: is inf, must be finite")
      for name in ("alpha", "beta", "gamma")),
    (pool2d_f32, activation(X, (2, 3, 4, 5)), "x: dtype is int8, must be float32"),
    (pool2d_f32, activation(X, (3, 4, 5), F32), "x: shape is .3,4,5., rank must be 4"),
    (pool2d_f32, activation(Y, (3, 4, 5), F32), "y: shape is .3,4,5., rank must be 4"),
    (pool2d_f32, activation(Y, (2, 3, 4, 5)), "y: dtype is int8, must be that of x"),
    (pool2d_f32, activation(Y, (2, 3, 4, 6), F32), "y: .* axis 3 must have 5 elements"),
    (pool2d_f32, activation(Y, (2, 5, 4, 5), F32), "y: height 5: the last window starts at 3"),
    (pool2d_f32, param("kind", 2), "kind: is 2, must be from 0 to 1"),
    (pool2d_f32, param("count_include_pad", 2), "count_include_pad: is 2"),
    (reduce_f32, activation(X, (3, 4, 5)), "x: dtype is int8, must be float32"),
    (reduce_f32, activation(Y, (4, 5)), "y: dtype is int8, must be that of x"),
    (reduce_f32, activation(Y, (3, 5), F32), "y: shape is .3,5., axis 0 must have 4 elements"),
    (reduce_f32, param("axes", 8), "axes: is 8, must be from 0 to 7"),
    (reduce_f32, param("kind", 10), "kind: is 10, must be from 0 to 9"),
    (softmax_f32, activation(X, (3, 4)), "x: dtype is int8, must be float32"),
    (softmax_f32, activation(X, (), F32), "x: shape is .., rank must be from 1 to 6"),
    (softmax_f32, activation(Y, (3, 4)), "y: dtype is int8, must be that of x"),
    (softmax_f32, activation(Y, (4, 3), F32), "y: shape is .4,3., must be that of x"),
    (softmax_f32, param("beta", 0.0), "beta: is 0, must be finite and above zero"),
    (softmax_f32, param("beta", np.inf), "beta: is inf, must be finite and above zero"),
    (softmax_f32, param("logarithm", 2), "logarithm: is 2"),
    (layer_norm_f32, activation(X, (3, 4)), "x: dtype is int8, must be float32"),
    (layer_norm_f32, activation(X, (), F32), "x: shape is .., rank must be from 1 to 6"),
    (layer_norm_f32, activation(Y, (3, 4)), "y: dtype is int8, must be that of x"),
    (layer_norm_f32, activation(Y, (4, 3), F32), "y: shape is .4,3., must be that of x"),
    (layer_norm_f32, activation(1, (4,)), "scale: dtype is int8, must be float32"),
    (layer_norm_f32, activation(1, (1, 4), F32), "scale: shape is .1,4., rank must be 1"),
    (layer_norm_f32, activation(2, (3,), F32), "bias: shape is .3., axis 0 must have 4 elements"),
    (layer_norm_f32, param("centred", 2), "centred: is 2"),
    (layer_norm_f32, param("epsilon", np.nan), "epsilon: is -?nan, must be finite"),
    (resize_f32, activation(X, (2, 3, 4, 5)), "x: dtype is int8, must be float32"),
    (resize_f32, activation(Y, (2, 3, 4, 6), F32), "y: .* axis 3 must have 5 elements"),
    (resize_f32, param("row_taps", 0), "row_taps: is 0, must be from 1 to"),
    (resize_f32, param("column_taps", -1), "column_taps: is -1, must be from 1 to"),
    (resize_f32, param("row_taps", 3), "rows: has 6 elements, must have at least 9"),
    # 3 times as many are 2 in 32 bits
    (resize_f32, param("row_taps", 1431655766), "rows: has 6 .* at least 4294967298"),
    (resize_f32, activation(Y, (2, 4, 4, 5), F32), "rows: has 6 elements, must have at least 8"),
    (resize_f32, activation(Y, (2, 3, 5, 5), F32), "columns: has 4 elements, .* at least 5"),
    (resize_f32, activation(1, (3, 2), "int32"), "rows: is an activation, must be a constant"),
    (resize_f32, data(2, lambda t: t[:2]), "rows: has 4 elements, must have at least 6"),
    (resize_f32, poke(1, 3, 3), "rows: entry 3 is 3, must be from 0 to 2"),
    (resize_f32, poke(COLUMNS_AT, 0, -1), "columns: entry 0 is -1, must be from 0 to 3"),
    (resize_f32, poke(COLUMNS_AT + 1, 1, np.inf), "columns: entry 1 is inf, must be finite"),
]  # fmt: skip


test_open_refuses = open_refuses(REFUSALS)
test_open_accepts_what_the_changes_start_from = open_accepts(GOOD)


@pytest.mark.parametrize(
    ("make", "index", "message"),
    [
        (binary_f32, 1, "b: is a ring of 1 rows, must be whole, 2 rows"),
        (reduce_f32, 0, "x: is a ring of 1 rows, must be whole, 12 rows"),
    ],
)
def test_open_refuses_rings_where_rows_do_not_follow_rows(make, index: int, message: str) -> None:
    bad = make()
    if make is binary_f32:
        bad.inputs[1] = Value("b", (2, 1, 4), F32)
    reads = [(lambda begin, end: (begin, end)) if i != index else some_rows(3) for i in range(2)]
    with pytest.raises(edgeinfer.EdgeInferError, match=message):
        run_streamed(bad, inputs_of(bad), reads[: len(inputs_of(bad))], 1)
