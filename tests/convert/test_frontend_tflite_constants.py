"""What the TFLite frontend evaluates at conversion is what LiteRT would have computed."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeinfer.convert.frontends import tflite
from edgeinfer.convert.graph import Problem
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_model import ModelBuilder
from tests.builders.tflite_run import run
from tests.convert.litert_agreement import read

INT = np.array([[-7, 3, 5], [0, 8, -2]], np.int32)
INT_OTHER = np.array([[2, -2, 3]], np.int32)
FLOAT = INT.astype(np.float32) / 4
FLOAT_OTHER = INT_OTHER.astype(np.float32) / 2


def constants_only(
    code: str, operands: list[np.ndarray], dtype: type, shape: tuple[int, ...], options=None
) -> bytes:
    """An operator on constants whose result is the model's output; the input is not used."""
    b = ModelBuilder()
    xi = b.tensor(Spec((1,), np.float32))
    ci = [b.constant(operand) for operand in operands]
    yi = b.tensor(Spec(shape, dtype))
    b.operator(code, ci, [yi], options)
    return b.build([xi], [yi])


def check(code: str, operands: list[np.ndarray], result: np.ndarray, options=None) -> None:
    """The result as NumPy has it, as the frontend evaluates it, and as LiteRT computes it."""
    model = constants_only(code, operands, result.dtype.type, result.shape, options)
    graph = read(model)
    assert graph.nodes == []
    data = graph.outputs[0].data
    assert data is not None and data.dtype == result.dtype
    np.testing.assert_array_equal(data, result)
    np.testing.assert_array_equal(data, run(model, np.zeros(1, np.float32))[0])


@pytest.mark.parametrize(
    ("code", "options", "function"),
    [
        ("ADD", schema.AddOptionsT(), np.add),
        ("SUB", schema.SubOptionsT(), np.subtract),
        ("MUL", schema.MulOptionsT(), np.multiply),
        ("MAXIMUM", schema.MaximumMinimumOptionsT(), np.maximum),
        ("MINIMUM", schema.MaximumMinimumOptionsT(), np.minimum),
        ("FLOOR_DIV", schema.FloorDivOptionsT(), np.floor_divide),
        ("FLOOR_MOD", schema.FloorModOptionsT(), np.mod),
    ],
)
def test_arithmetic(code, options, function) -> None:
    check(code, [INT, INT_OTHER], function(INT, INT_OTHER), options)
    check(code, [FLOAT, FLOAT_OTHER], function(FLOAT, FLOAT_OTHER), options)


def test_integer_division_rounds_towards_zero() -> None:
    expected = np.trunc(INT / INT_OTHER).astype(np.int32)
    assert np.any(expected != INT // INT_OTHER)
    check("DIV", [INT, INT_OTHER], expected, schema.DivOptionsT())
    check("DIV", [FLOAT, FLOAT_OTHER], FLOAT / FLOAT_OTHER, schema.DivOptionsT())


def test_one_operand() -> None:
    check("NEG", [INT], -INT)
    check("ABS", [FLOAT], np.abs(FLOAT))
    check("ZEROS_LIKE", [INT], np.zeros_like(INT))
    check("RANK", [INT], np.asarray(2, np.int32))
    options = schema.ShapeOptionsT(outType=schema.TensorType.INT32)
    check("SHAPE", [INT], np.array([2, 3], np.int32), options)


def test_casts() -> None:
    types = schema.TensorType
    options = schema.CastOptionsT(inDataType=types.INT32, outDataType=types.FLOAT32)
    check("CAST", [INT], INT.astype(np.float32), options)
    options = schema.CastOptionsT(inDataType=types.FLOAT32, outDataType=types.INT32)
    check("CAST", [FLOAT], FLOAT.astype(np.int32), options)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("code", "function"),
    [("REDUCE_PROD", np.prod), ("REDUCE_MAX", np.max), ("REDUCE_MIN", np.min), ("SUM", np.sum)],
)
def test_reductions(code, function, keep: bool) -> None:
    expected = np.asarray(function(INT, axis=1, keepdims=keep), np.int32)
    axis = np.array([-1], np.int32)
    check(code, [INT, axis], expected, schema.ReducerOptionsT(keepDims=keep))


def test_sizes_from_constants() -> None:
    check(
        "FILL", [np.array([2, 3], np.int32), np.asarray(7, np.int32)], np.full((2, 3), 7, np.int32)
    )
    check("TILE", [INT, np.array([2, 1], np.int32)], np.tile(INT, (2, 1)))
    operands = [np.asarray(v, np.int32) for v in (9, -2, -4)]
    check("RANGE", operands, np.arange(9, -2, -4, dtype=np.int32))
    shapes = [np.array([4, 1, 3], np.int32), np.array([2, 1], np.int32)]
    check("BROADCAST_ARGS", shapes, np.array([4, 2, 3], np.int32))


def refused(code: str, operands: list[np.ndarray], options=None) -> Problem:
    model = constants_only(code, operands, operands[0].dtype.type, (1,), options)
    (problem,) = tflite.read(model, "model.tflite").problems
    return problem


@pytest.mark.parametrize("code", ["DIV", "FLOOR_DIV", "FLOOR_MOD"])
def test_division_by_zero_is_refused(code: str) -> None:
    assert "divides by zero" in refused(code, [INT, np.zeros(1, np.int32)]).reason


@pytest.mark.parametrize(
    ("code", "operands", "reason"),
    [
        ("ADD", [INT, np.zeros(4, np.int32)], "do not go together"),
        ("ADD", [INT, FLOAT], "are int32 and float32"),
        ("FILL", [np.array([-1], np.int32), np.asarray(1, np.int32)], "shape [-1]"),
        ("FILL", [np.array([2**30], np.int32), np.asarray(1, np.int32)], "256 MiB"),
        ("RANGE", [np.asarray(v, np.int32) for v in (0, 9, 0)], "delta is zero"),
        ("RANGE", [np.asarray(v, np.float32) for v in (0, np.inf, 1)], "finite"),
        ("RANGE", [np.asarray(v, np.float32) for v in (0, 1, 1e-12)], "256 MiB"),
        ("BROADCAST_TO", [INT, np.array([2, 4], np.int32)], "does not broadcast"),
        ("TILE", [INT, np.array([2], np.int32)], "repeats 2 axes 1 ways"),
    ],
)
def test_constants_that_do_not_fit_are_refused(code, operands, reason: str) -> None:
    assert reason in refused(code, operands).reason


def test_per_channel_constants_are_dequantized_along_their_axis() -> None:
    b = ModelBuilder()
    stored = np.array([[10, 20], [30, 40]], np.int8)
    xi = b.tensor(Spec((1,), np.float32))
    ci = b.constant(stored, Quant((0.5, 2.0), (0, 10), axis=1))
    yi = b.tensor(Spec((2, 2), np.float32))
    b.operator("DEQUANTIZE", [ci], [yi])
    (y,) = read(b.build([xi], [yi])).outputs
    assert y.data is not None and y.data.tolist() == [[5.0, 20.0], [15.0, 60.0]]
