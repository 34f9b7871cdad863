"""What operators on plain numbers refuse when a file is opened: one change of a good operation per
rule, and the message that names it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Operation, Value
from tests.kernels.run_operation import constant, run_streamed, same_rows
from tests.ops.changes import (
    Change,
    activation,
    inputs_of,
    open_accepts,
    open_refuses,
    param,
    without,
)
from tests.ops.test_contracts import X, Y, operation, some_rows

A, B = 0, 1


def compare() -> Operation:
    operands = {"a": ((2, 3, 4), "int64"), "b": ((1, 4), "int64")}
    return operation("compare", operands, ((2, 3, 4), "bool"), {"kind": 2})


def select() -> Operation:
    operands = {"condition": ((2, 3, 1), "bool"), "a": ((4,), "int16"), "b": ((1, 4), "int16")}
    return operation("select", operands, ((2, 3, 4), "int16"), {"reserved": 0})


def cast() -> Operation:
    return operation("cast", {"x": ((2, 3), "float32")}, ((2, 3), "int8"), {"reserved": 0})


def binary_int() -> Operation:
    operands = {"a": ((2, 3, 4), "int32"), "b": ((1, 4), "int32")}
    return operation("binary_int", operands, ((2, 3, 4), "int32"), {"kind": 8})


def unary_int() -> Operation:
    return operation("unary_int", {"x": ((2, 3), "bool")}, ((2, 3), "bool"), {"kind": 3})


def classify_f32() -> Operation:
    return operation("classify_f32", {"x": ((2, 3), "float32")}, ((2, 3), "bool"), {"classes": 7})


def reduce_int() -> Operation:
    params: dict[str, int | float] = {"axes": 1, "kind": 1}
    return operation("reduce_int", {"x": ((3, 4, 5), "int64")}, ((4, 5), "int64"), params)


def cumsum() -> Operation:
    params: dict[str, int | float] = {"exclusive": 1, "reverse": 1}
    return operation("cumsum", {"x": ((3, 4), "float32")}, ((3, 4), "float32"), params)


def top_k() -> Operation:
    return operation("top_k", {"x": ((3, 9), "float32")}, ((3, 4), "int64"), {"smallest": 0})


def gather_elements() -> Operation:
    indices = constant("indices", np.array([[0, 4], [-5, -1], [2, 2]], np.int32))
    operands = {"x": ((3, 5), "int8")}
    return operation("gather_elements", operands, ((3, 2), "int8"), {"reserved": 0}, indices)


GOOD = [
    compare,
    select,
    cast,
    binary_int,
    unary_int,
    classify_f32,
    reduce_int,
    cumsum,
    top_k,
    gather_elements,
]

BROADCAST: list[tuple[Change, str]] = [
    (without(B), "b: is absent, must be given"),
    (activation(B, (5,), "DTYPE"), "b: shape is .5., axis 0 must have 4 elements"),
    (activation(B, (1, 2, 3, 4), "DTYPE"), "b: shape is .1,2,3,4., rank must be from 0 to 3"),
    (activation(A, (2, 1, 4), "DTYPE"), "y: shape is .2,3,4., axis 1 must have 1 elements"),
    (activation(A, (4,), "DTYPE"), "y: shape is .2,3,4., rank must be 2"),
]


def of_dtype(change: Change, dtype: str) -> Change:
    """The change, where it says DTYPE made with this one."""

    def changed(operation: Operation) -> None:
        change(operation)
        for value in operation.inputs:
            if value is not None and value.dtype == "DTYPE":
                value.dtype = dtype

    return changed


REFUSALS: list[tuple[Callable[[], Operation], Change, str]] = [
    *((compare, of_dtype(change, "int64"), message) for change, message in BROADCAST),
    (compare, activation(B, (1, 4), "int32"), "b: dtype is int32, must be that of a, int64"),
    (compare, activation(Y, (2, 3, 4), "uint8"), "y: dtype is uint8, must be bool"),
    (compare, param("kind", 3), "kind: is 3, must be from 0 to 2"),
    *((binary_int, of_dtype(change, "int32"), message) for change, message in BROADCAST),
    (binary_int, activation(Y, (2, 3, 4), "float32"), "y: dtype is float32, must be int8"),
    (binary_int, activation(A, (2, 3, 4), "int64"), "a: dtype is int64, must be that of y, int32"),
    (binary_int, param("kind", 12), "kind: is 12, must be from 0 to 11"),
    (binary_int, param("kind", -1), "kind: is -1, must be from 0 to 11"),
    (select, activation(0, (2, 3, 1), "int8"), "condition: dtype is int8, must be bool"),
    (select, activation(0, (3, 3, 1), "bool"), "condition: .* axis 0 must have 2 elements"),
    (select, activation(1, (4,), "int8"), "a: dtype is int8, must be that of y, int16"),
    (select, activation(2, (1, 4), "int8"), "b: dtype is int8, must be that of y, int16"),
    (select, activation(Y, (2, 3, 5), "int16"), "a: shape is .4., axis 0 must have 5 elements"),
    (select, activation(0, (2, 1, 1), "bool"), "y: shape is .2,3,4., axis 1 must have 1"),
    (select, param("reserved", 1), "reserved: is 1"),
    (cast, activation(Y, (2, 3), "float32"), "y: dtype is float32, must be int8"),
    (cast, activation(Y, (3, 2), "int8"), "y: shape is .3,2., must be that of x"),
    (cast, param("reserved", 1), "reserved: is 1"),
    (unary_int, activation(X, (2, 3), "float32"), "x: dtype is float32, must be int8"),
    (unary_int, activation(Y, (2, 3), "int8"), "y: dtype is int8, must be that of x, bool"),
    (unary_int, activation(Y, (3, 2), "bool"), "y: shape is .3,2., must be that of x"),
    (unary_int, param("kind", 4), "kind: is 4, must be from 0 to 3"),
    (classify_f32, activation(X, (2, 3), "int32"), "x: dtype is int32, must be float32"),
    (classify_f32, activation(Y, (2, 3), "int8"), "y: dtype is int8, must be bool"),
    (classify_f32, activation(Y, (3, 2), "bool"), "y: shape is .3,2., must be that of x"),
    (classify_f32, param("classes", 8), "classes: is 8, must be from 0 to 7"),
    (reduce_int, activation(X, (3, 4, 5), "float32"), "x: dtype is float32, must be int8"),
    (reduce_int, activation(Y, (4, 5), "int32"), "y: dtype is int32, must be that of x"),
    (reduce_int, activation(Y, (3, 5), "int64"), "y: shape is .3,5., axis 0 must have 4"),
    (reduce_int, param("axes", 8), "axes: is 8, must be from 0 to 7"),
    (reduce_int, param("kind", 5), "kind: is 5, must be from 0 to 4"),
    (cumsum, activation(X, (3, 4), "bool"), "x: dtype is bool, must be int8"),
    (cumsum, activation(X, (), "float32"), "x: shape is .., rank must be from 1 to 6"),
    (cumsum, activation(Y, (3, 4), "int32"), "y: dtype is int32, must be that of x, float32"),
    (cumsum, activation(Y, (4, 3), "float32"), "y: shape is .4,3., must be that of x"),
    (cumsum, param("exclusive", 2), "exclusive: is 2"),
    (cumsum, param("reverse", -1), "reverse: is -1"),
    (top_k, activation(X, (), "float32"), "x: shape is .., rank must be from 1 to 6"),
    (top_k, activation(Y, (3, 4), "int32"), "y: dtype is int32, must be int64"),
    (top_k, activation(Y, (12,), "int64"), "y: shape is .12., rank must be 2"),
    (top_k, activation(Y, (2, 4), "int64"), "y: shape is .2,4., axis 0 must have 3 elements"),
    (top_k, activation(Y, (3, 10), "int64"), "elements of y's last axis: is 10, .* from 1 to 9"),
    (top_k, param("smallest", 2), "smallest: is 2"),
    (gather_elements, activation(X, (), "int8"), "x: shape is .., rank must be from 1 to 6"),
    (gather_elements, activation(1, (3, 2), "int8"), "indices: dtype is int8, must be int32"),
    (gather_elements, activation(1, (6,), "int32"), "indices: shape is .6., rank must be 2"),
    (gather_elements, activation(1, (2, 2), "int32"), "indices: .* axis 0 must have 3 elements"),
    (gather_elements, activation(Y, (3, 2), "uint8"), "y: dtype is uint8, must be that of x"),
    (gather_elements, activation(Y, (3, 3), "int8"), "y: shape is .3,3., must be that of indices"),
    (gather_elements, param("reserved", 1), "reserved: is 1"),
]


test_open_refuses = open_refuses(REFUSALS)
test_open_accepts_what_the_changes_start_from = open_accepts(GOOD)


@pytest.mark.parametrize(
    ("make", "index", "value", "message"),
    [
        (compare, B, Value("b", (2, 1, 4), "int64"), "b: is a ring of 1 rows, must be whole, 2"),
        (reduce_int, X, Value("x", (3, 4, 5), "int64"), "x: is a ring of 1 rows, .* 12 rows"),
    ],
)
def test_open_refuses_rings_where_rows_do_not_follow_rows(make, index, value, message) -> None:
    bad = make()
    bad.inputs[index] = value
    reads = [some_rows(3) if i == index else same_rows for i in range(len(bad.inputs))]
    with pytest.raises(edgeinfer.EdgeInferError, match=message):
        run_streamed(bad, inputs_of(bad), reads, 1)
