"""Products of float32 from graph to result: what the runtime computes is what the graph means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import check, convert
from edgeinfer.convert.graph import Graph, Tensor
from tests.convert.graphs import GraphBuilder, Q
from tests.oracle import float_products

WINDOW: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(graph: Graph, *inputs: np.ndarray, **options: Any) -> np.ndarray:
    names = [tensor.name for tensor in graph.inputs]
    with edgeinfer.load(convert(graph, **options).data) as model:
        result = model.run(dict(zip(names, inputs, strict=True)))
    assert isinstance(result, np.ndarray)
    return result


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [
        (None, -np.inf, np.inf),
        ("relu", 0, np.inf),
        ("relu6", 0, 6),
        (("clip", -1, None), -1, np.inf),
    ],
)
def test_conv2d(groups: int, activation: Any, low: float, high: float) -> None:
    """Four groups of one channel become a depthwise convolution."""
    b = GraphBuilder()
    x, w, bias = numbers(0, 1, 5, 6, 4), numbers(1, 8, 3, 3, 4 // groups), numbers(2, 8)
    y = b.node(
        "conv2d", [b.input(x.shape, None), b.constant(w), b.constant(bias)], (1, 5, 6, 8), None,
        activation=activation, groups=groups, **WINDOW,
    )  # fmt: skip
    sums = float_products.conv2d(x, w, bias, (1, 1), (1, 1), ((1, 1), (1, 1)), groups)
    expected = float_products.bounded(sums, low, high)
    np.testing.assert_array_equal(run(b.build(y), x), expected)


def test_a_clamp_behind_is_fused() -> None:
    b = GraphBuilder()
    x, w = numbers(0, 1, 5, 6, 4), numbers(1, 8, 3, 3, 4)
    inputs = [b.input(x.shape, None), b.constant(w)]
    y = b.node("conv2d", inputs, (1, 5, 6, 8), None, groups=1, **WINDOW)
    graph = b.build(b.node("relu6", [y], (1, 5, 6, 8), None))
    converted = convert(graph)
    assert [operation.operator for operation in converted.programs[0].operations] == ["conv2d_f32"]
    with edgeinfer.load(converted.data) as model:
        result = np.asarray(model.run(x))
    assert result.min() == 0 and result.max() == 6


def test_transpose_conv2d() -> None:
    b = GraphBuilder()
    x, w = numbers(0, 1, 3, 4, 4), numbers(1, 6, 3, 3, 2)
    attrs: dict[str, Any] = {
        "strides": (2, 2),
        "dilations": (1, 1),
        "pads": (1, 1, 0, 0),
        "groups": 2,
    }
    inputs = [b.input(x.shape, None), b.constant(w)]
    y = b.node("transpose_conv2d", inputs, (1, 6, 8, 6), None, **attrs)
    zeros = np.zeros(6, np.float32)
    sums = float_products.transpose_conv2d(x, w, zeros, (2, 2), (1, 1), (1, 1), (6, 8), 2)
    np.testing.assert_array_equal(run(b.build(y), x), sums)


@pytest.mark.parametrize("transpose_b", [False, True])
def test_a_matrix_product_by_a_constant_is_a_fully_connected(transpose_b: bool) -> None:
    b = GraphBuilder()
    x, w = numbers(0, 2, 3, 5), numbers(1, 5, 7)
    stored = b.constant(np.ascontiguousarray(w.T) if transpose_b else w)
    inputs = [b.input(x.shape, None), stored]
    y = b.node("batch_matmul", inputs, (2, 3, 7), None, transpose_a=False, transpose_b=transpose_b)
    graph = b.build(y)
    converted = convert(graph)
    operators = [operation.operator for operation in converted.programs[0].operations]
    assert operators == ["fully_connected_f32"]
    expected = float_products.matmul(x, w, np.zeros(1, np.float32))
    with edgeinfer.load(converted.data) as model:
        np.testing.assert_array_equal(model.run(x), expected)


@pytest.mark.parametrize("transpose_a", [False, True])
def test_batch_matmul(transpose_a: bool) -> None:
    b = GraphBuilder()
    x, z = numbers(0, 2, 3, 5), numbers(1, 5, 7)
    given = np.ascontiguousarray(x.swapaxes(1, 2)) if transpose_a else x
    inputs = [b.input(given.shape, None), b.input(z.shape, None)]
    y = b.node("batch_matmul", inputs, (2, 3, 7), None, transpose_a=transpose_a, transpose_b=False)
    expected = float_products.matmul(x, z, np.zeros(1, np.float32))
    np.testing.assert_array_equal(run(b.build(y), given, z), expected)


@pytest.mark.parametrize("transpose_b", [False, True])
def test_a_transpose_of_the_second_operand_is_part_of_the_product(transpose_b: bool) -> None:
    b = GraphBuilder()
    x, z = numbers(0, 2, 3, 5), numbers(1, 2, 5, 7)
    given = z if transpose_b else np.ascontiguousarray(z.swapaxes(1, 2))
    second = b.input(given.shape, None)
    inputs = [b.input(x.shape, None), b.transpose(second, (0, 2, 1))]
    attrs: dict[str, Any] = {"transpose_a": False, "transpose_b": transpose_b}
    y = b.node("batch_matmul", inputs, (2, 3, 7), None, **attrs)
    graph = b.build(y)
    converted = convert(graph)
    operations = converted.programs[0].operations
    assert [operation.operator for operation in operations] == ["batch_matmul_f32"]
    with edgeinfer.load(converted.data) as model:
        result = model.run({second.name: given, graph.inputs[1].name: x})
    np.testing.assert_array_equal(result, float_products.matmul(x, z, np.zeros(1, np.float32)))


@pytest.mark.parametrize("op", ["conv2d", "fully_connected"])
def test_float16_weights_are_rounded_and_nothing_else(op: str) -> None:
    def graph(weights: np.ndarray) -> Graph:
        b = GraphBuilder()
        x = b.input((1, 5, 6, 20), None)
        if op == "conv2d":
            y = b.node(op, [x, b.constant(weights)], (1, 5, 6, 40), None, groups=1, **WINDOW)
        else:
            y = b.node(op, [x, b.constant(weights)], (1, 5, 6, 40), None)
        return b.build(y)

    w = numbers(1, *((40, 3, 3, 20) if op == "conv2d" else (40, 20)))
    x = numbers(0, 1, 5, 6, 20)
    rounded = w.astype(np.float16).astype(np.float32)
    small, large = convert(graph(w), float_weights="float16"), convert(graph(rounded))
    assert len(large.data) - len(small.data) >= w.nbytes // 2
    with edgeinfer.load(small.data) as halves, edgeinfer.load(large.data) as wholes:
        np.testing.assert_array_equal(halves.run(x), wholes.run(x))


def test_quantised_neighbours_are_converted() -> None:
    b = GraphBuilder()
    x = b.input((2, 5))
    w = b.weights(1, (7, 5))
    y = b.node("fully_connected", [x, w], (2, 7), None)
    graph = b.build(y)
    given = np.arange(-5, 5, dtype=np.int8).reshape(2, 5)
    assert w.data is not None
    real = (given.astype(np.float32) - 3) * np.float32(0.05)
    weights = w.data.T.astype(np.float32) * np.float32(0.02)
    expected = float_products.matmul(real, weights, np.zeros(1, np.float32))
    np.testing.assert_array_equal(run(graph, given), expected)


def refused(*operands: np.ndarray | Tensor | None, b: GraphBuilder, **options: Any) -> str:
    x = b.input((2, 5), None)
    inputs = [b.constant(o) if isinstance(o, np.ndarray) else o for o in operands]
    graph = b.build(b.node("fully_connected", [x, *inputs], (2, 7), None))
    if options:
        with pytest.raises(edgeinfer.ConversionError) as caught:
            convert(graph, **options)
        return str(caught.value)
    (found,) = check(graph)
    return found.reason


def test_refusals() -> None:
    w, bias = np.ones((7, 5), np.float32), np.ones(7, np.float32)
    infinite = np.full(7, np.inf, np.float32)
    assert "infinite or no numbers" in refused(w * np.float32("nan"), b=GraphBuilder())
    assert "infinite or no numbers" in refused(w, infinite, b=GraphBuilder())
    assert "6 values for 7 channels" in refused(w, bias[:6], b=GraphBuilder())
    assert "is int32, must be float32" in refused(w, np.ones(7, np.int32), b=GraphBuilder())
    large = refused(w * 70000, b=GraphBuilder(), float_weights="float16")
    assert "70000 do not fit float16" in large
    b = GraphBuilder()
    computed = b.input((7, 5), None)
    assert "not constant" in refused(computed, bias, b=b)
    b = GraphBuilder()
    assert "is float32 beside" in _mixed(b)


def _mixed(b: GraphBuilder) -> str:
    x = b.input((2, 3))
    y = b.node("mul", [x, b.constant(np.ones((2, 3), np.float32))], (2, 3), Q)
    (found,) = check(b.build(y))
    return found.reason
