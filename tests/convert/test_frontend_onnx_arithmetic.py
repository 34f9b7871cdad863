"""Elementwise operators, matrix products and reductions in the ONNX frontend, held against
onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import onnx_qdq_ops as qdq
from tests.builders import onnx_qlinear_ops as qlinear
from tests.builders.spec import Quant, Spec
from tests.convert.onnxruntime_agreement import (
    FEW,
    Chain,
    activations,
    check,
    fill,
    small,
    stored,
    weight_quant,
)
from tests.oracle.strategies import biases, integers, seeds, weights

ALL_INT8 = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)


@st.composite
def broadcasts(draw: st.DrawFn):
    """Two shapes that broadcast, and the shape of the result."""
    result = draw(st.lists(small, min_size=1, max_size=4))
    shapes = []
    for _ in range(2):
        shape = [n if draw(st.booleans()) else 1 for n in result]
        shapes.append(tuple(shape[draw(st.integers(0, len(shape) - 1)) :]))
    return (*shapes, tuple(np.broadcast_shapes(*shapes)))


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Max", "Min", "Sum"])
@FEW
@given(shapes=broadcasts(), dtype=activations, seed=seeds)
def test_binary(operator: str, shapes, dtype, seed) -> None:
    a, b = stored(shapes[0], dtype), stored(shapes[1], dtype, 0.03, 7)
    y = stored(shapes[2], dtype, 0.06, 5)
    check(qdq.binary(operator, a, b, y), fill(a, seed), fill(b, seed + 1), steps=1)


@pytest.mark.parametrize("operator", ["QLinearAdd", "QLinearMul"])
def test_qlinear_binary(operator: str) -> None:
    a, b, y = stored((2, 3, 4)), stored((3, 1), np.int8, 0.03, 7), stored((2, 3, 4), np.int8, 0.06)
    check(qlinear.binary(operator, a, b, y), fill(a), fill(b, 1), steps=1)


@pytest.mark.parametrize("operator", ["Max", "Min"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_extremes_of_any_number(operator: str, count: int) -> None:
    xs = [stored((2, 5), np.int8, 0.02 * (i + 1), i) for i in range(count)]
    y = stored((2, 5), np.int8, 0.05, 9)
    model = qdq.variadic(operator, xs, y)
    check(model, *(fill(x, i) for i, x in enumerate(xs)), steps=1, in_oracle=count > 1)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"])
@pytest.mark.parametrize("number", [0.75, -1.5, 3.0])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_a_number_left_in_float(operator: str, number: float, dtype: type) -> None:
    x, y = stored((1, 256), dtype), stored((1, 256), dtype, 0.08, 100)
    model = qdq.unary(operator, x, y, constants=[np.array(number, np.float32)])
    graph = check(model, ALL_INT8.view(dtype), steps=1)
    assert graph.nodes[0].input(1).quantization is not None


def test_a_number_on_the_left() -> None:
    c = Chain()
    spec = stored((1, 256))
    c.output(c.node("Sub", c.constant(np.float32(2.5)), c.input(spec)), stored((1, 256)))
    check(c.build(), ALL_INT8, steps=1)


UNARY: dict[str, dict[str, Any]] = {
    "Abs": {},
    "Elu": {"alpha": 0.7},
    "Erf": {},
    "Exp": {},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "HardSwish": {},
    "LeakyRelu": {"alpha": 0.3},
    "Neg": {},
    "Relu": {},
    "Sigmoid": {},
    "Softplus": {},
    "Tanh": {},
}


@pytest.mark.parametrize("operator", UNARY)
@pytest.mark.parametrize("with_attributes", [True, False])
def test_unary(operator: str, with_attributes: bool) -> None:
    x, y = stored((1, 256), np.int8, 0.04, -3), stored((1, 256), np.int8, 0.05, -20)
    model = qdq.unary(operator, x, y, **(UNARY[operator] if with_attributes else {}))
    check(model, ALL_INT8, steps=1)


@pytest.mark.parametrize("operator", ["Sqrt", "Log"])
def test_unary_of_what_is_positive(operator: str) -> None:
    x, y = stored((1, 256), np.int8, 0.04, -129 + 1), stored((1, 256), np.int8, 0.05, -20)
    check(qdq.unary(operator, x, y), np.maximum(ALL_INT8, -127), steps=1)


@pytest.mark.parametrize("exponent", [2.0, 0.5])
def test_pow(exponent: float) -> None:
    x, y = stored((1, 256), np.int8, 0.04, -128), stored((1, 256), np.int8, 0.05, -20)
    model = qdq.unary("Pow", x, y, constants=[np.float32(exponent)])
    check(model, ALL_INT8, steps=1)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    x, y = stored((1, 256), np.int8, 0.04, -3), stored((1, 256), np.int8, 0.05, -20)
    check(qdq.unary("Gelu", x, y, opset=20, approximate=approximate), ALL_INT8, steps=1)


@pytest.mark.parametrize(
    "bounds",
    [
        (np.float32(0), np.float32(6)),
        (np.float32(-1.23), None),
        (None, np.float32(2.5)),
        (np.float32(-3.4028235e38), np.float32(np.inf)),
        (np.float32(4), np.float32(1)),
    ],
)
def test_clip(bounds) -> None:
    x, y = stored((1, 256), np.int8, 0.07, -3), stored((1, 256), np.int8, 0.05, -20)
    check(qdq.unary("Clip", x, y, constants=bounds), ALL_INT8, steps=1)


def test_clip_with_attributes() -> None:
    x, y = stored((1, 256), np.int8, 0.07, -3), stored((1, 256), np.int8, 0.05, -20)
    check(qdq.unary("Clip", x, y, opset=10, min=-1.0, max=2.0), ALL_INT8, steps=1)


@pytest.mark.parametrize("operator", ["QLinearSigmoid", "QLinearLeakyRelu"])
def test_qlinear_unary(operator: str) -> None:
    x, y = stored((1, 256), np.int8, 0.04, -3), stored((1, 256), np.int8, 0.03, -20)
    attrs = {"alpha": 0.2} if operator == "QLinearLeakyRelu" else {}
    check(qlinear.unary(operator, x, y, **attrs), ALL_INT8, steps=1)


def test_prelu_with_a_slope_per_channel() -> None:
    x, y = stored((2, 3, 4, 5)), stored((2, 3, 4, 5), np.int8, 0.04)
    c = Chain()
    slope = c.constant(np.array([[[-50]], [[20]], [[90]]], np.int8), Quant(0.01, 10))
    c.output(c.node("PRelu", c.input(x), slope), y)
    check(c.build(), fill(x), steps=1)


# --- softmax


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_softmax(opset: int, axis: int | None) -> None:
    x, y = stored((2, 3, 5)), stored((2, 3, 5), np.int8, 1 / 256, -128)
    attrs: dict[str, Any] = {} if axis is None else {"axis": axis}
    check(qdq.unary("Softmax", x, y, opset=opset, **attrs), fill(x), steps=1)


@pytest.mark.parametrize("opset", [12, 13])
def test_qlinear_softmax(opset: int) -> None:
    x, y = stored((2, 3, 5), np.uint8), stored((2, 3, 5), np.uint8, 1 / 256, 0)
    model = qlinear.unary("QLinearSoftmax", x, y, axis=1, opset=opset)
    check(model, fill(x), steps=1)


def test_softmax_to_float() -> None:
    c, x = Chain(), stored((2, 5))
    c.output(c.node("Softmax", c.input(x)), Spec((2, 5), np.float32))
    check(c.build(), fill(x), steps=1e-6)


# --- products


@FEW
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5)),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    per_channel=st.booleans(),
    addend=st.sampled_from(["none", "row", "matrix", "scalar"]),
    dtype=activations,
    seed=seeds,
)
def test_gemm(sizes, transpose_a, transpose_b, per_channel, addend, dtype, seed) -> None:
    m, k, n = sizes
    x = stored((k, m) if transpose_a else (m, k), dtype)
    quant = weight_quant(n, 0 if transpose_b else 1, per_channel)
    bias = None
    if addend != "none":
        bias = biases(seed, 1 if addend == "scalar" else n)
        per_row = Quant(np.float32(0.05) * quant.scales, 0, 1)
    c = Chain()
    inputs = [c.input(x), c.constant(weights(seed, (n, k) if transpose_b else (k, n)), quant)]
    if bias is not None and addend == "matrix":
        inputs.append(c.constant(bias.reshape(1, n), per_row))
    elif bias is not None:
        scale = Quant(per_row.scale, 0, 0) if addend == "row" else Quant(0.0005)
        inputs.append(c.constant(bias, scale))
    value = c.node("Gemm", *inputs, transA=int(transpose_a), transB=int(transpose_b))
    c.output(value, stored((m, n), dtype, 0.2))
    check(c.build(), fill(x, seed), steps=1)


@pytest.mark.parametrize("alpha", [1.0, 0.5, -2.0])
@pytest.mark.parametrize("beta", [1.0, 0.25, 0.0])
def test_gemm_with_factors(alpha: float, beta: float) -> None:
    c, x = Chain(), stored((2, 6))
    w = np.maximum(weights(3, (6, 4)), -127)
    addend = c.constant(np.array([0.5, -3, 2, 1], np.float32))
    value = c.node("Gemm", c.input(x), c.constant(w, Quant(0.01)), addend, alpha=alpha, beta=beta)
    c.output(value, stored((2, 4), np.int8, 0.2))
    check(c.build(), fill(x), steps=1)


@pytest.mark.parametrize("has_bias", [True, False])
def test_qgemm(has_bias: bool) -> None:
    x, y = stored((2, 6), np.uint8), stored((2, 4), np.uint8, 0.2, 90)
    bias = biases(1, 4) if has_bias else None
    check(qlinear.gemm(x, weights(1, (4, 6)), Quant(0.01), bias, y), fill(x), steps=1)


@FEW
@given(
    batch=st.lists(small, max_size=2),
    sizes=st.tuples(small, st.integers(1, 9), st.integers(1, 5)),
    per_channel=st.booleans(),
    seed=seeds,
)
def test_matmul_with_weights(batch, sizes, per_channel, seed) -> None:
    m, k, n = sizes
    x, y = stored((*batch, m, k)), stored((*batch, m, n), np.int8, 0.2)
    quant = weight_quant(n, 1, per_channel)
    model = qdq.weighted("MatMul", x, weights(seed, (k, n)), quant, None, y)
    graph = check(model, fill(x, seed), steps=1)
    assert [node.op for node in graph.nodes] == ["fully_connected"]


MATMULS = [
    ((2, 3), (3, 4), (2, 4)),
    ((5, 2, 3), (5, 3, 4), (5, 2, 4)),
    ((2, 1, 2, 3), (5, 3, 4), (2, 5, 2, 4)),
    ((3,), (3, 4), (4,)),
    ((2, 3), (3,), (2,)),
    ((5, 2, 3), (3,), (5, 2)),
]


@pytest.mark.parametrize(("a", "b", "y"), MATMULS)
def test_matmul_of_activations(a, b, y) -> None:
    a, b, y = stored(a), stored(b, np.int8, 0.03, 7), stored(y, np.int8, 0.06, 5)
    check(qdq.binary("MatMul", a, b, y), fill(a), fill(b, 1), steps=1)


@pytest.mark.parametrize("is_constant", [True, False])
def test_qlinear_matmul(is_constant: bool) -> None:
    a, b = stored((2, 3, 6), np.uint8), Spec((6, 4), np.int8, Quant(0.01))
    values = integers(5, (6, 4)) // 2  # onnxruntime sums pairs in int16 where there is no VNNI
    model = qlinear.matmul(a, b, stored((2, 3, 4), np.uint8, 0.1), values if is_constant else None)
    inputs = [fill(a)] if is_constant else [fill(a), values]
    check(model, *inputs, steps=1)


# --- reductions


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
@FEW
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    keep=st.booleans(),
    from_end=st.booleans(),
    as_input=st.booleans(),
    data=st.data(),
)
def test_reductions(operator, shape, keep, from_end, as_input, data) -> None:
    rank = len(shape)
    axes = data.draw(st.none() | st.sets(st.integers(0, rank - 1), min_size=1))
    x, y = stored(shape), stored([None] * (rank if keep else rank - len(axes or shape)))
    y = Spec(y.shape, y.dtype, Quant(0.2, 5) if operator == "ReduceSum" else Quant(0.05, 3))
    listed = None if axes is None else [a - rank if from_end else a for a in axes]
    is_input = operator == "ReduceSum" or as_input
    opset = (18 if operator != "ReduceSum" else 13) if is_input else 11
    given_axes: dict = {}
    if listed is not None:
        given_axes = {"constants": [np.array(listed)]} if is_input else {"axes": listed}
    model = qdq.unary(operator, x, y, opset=opset, keepdims=int(keep), **given_axes)
    exact = operator in ("ReduceMax", "ReduceMin")
    # A quarter of the sums are ties on these scales, and fall as float32 noise has it.
    check(model, fill(x), steps=0 if exact else 1, share=0.25)


def test_reduction_of_no_axes() -> None:
    x, y = stored((2, 3)), stored((2, 3), np.int8, 0.06)
    empty = [np.zeros(0, np.int64)]
    model = qdq.unary("ReduceMean", x, y, opset=18, constants=empty, noop_with_empty_axes=1)
    check(model, fill(x), steps=1)


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_index_of_an_extreme(operator: str, keep: int, last: int, axis: int) -> None:
    x = stored((3, 4, 5))
    shape = [n for i, n in enumerate(x.shape) if keep or i != axis % 3]
    shape = [1 if keep and i == axis % 3 else n for i, n in enumerate(shape)]
    c = Chain()
    value = c.node(operator, c.input(x), axis=axis, keepdims=keep, select_last_index=last)
    c.output(value, Spec(tuple(shape), np.int64))
    check(c.build(), fill(x) // 32, in_oracle=not last)
