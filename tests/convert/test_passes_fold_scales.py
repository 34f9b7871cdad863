"""Products of constants per channel go into the weights in front of them, or behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.convert.graph import Graph, Tensor, check_graph
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.passes.fold_scales import fold_scales
from tests.convert.graphs import GraphBuilder, operators
from tests.oracle.graph import run_graph

WINDOW: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product(b: GraphBuilder, op: str, x: Tensor, *, bias: bool = True) -> Tensor:
    """One of the operators with weights, on x [1, 5, 5, 4], with 4 channels out."""
    shapes: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
        "conv2d": ((4, 3, 3, 4), {**WINDOW, "groups": 1}),
        "depthwise_conv2d": ((3, 3, 4), WINDOW),
        "transpose_conv2d": ((4, 3, 3, 4), {**WINDOW, "groups": 1}),
        "fully_connected": ((4, 4), {}),
    }
    shape, attrs = shapes[op]
    inputs = [x, b.constant(numbers(1, *shape)), b.constant(numbers(2, 4)) if bias else None]
    return b.node(op, inputs, (1, 5, 5, 4), None, **attrs)


def check(graph: Graph, expected: list[str]) -> None:
    x = numbers(9, *graph.inputs[0].shape)
    (before,) = run_graph(graph, x)
    assert fold_scales(graph)
    check_graph(graph)
    assert operators(graph) == expected
    np.testing.assert_allclose(run_graph(graph, x)[0], before, rtol=1e-5, atol=1e-5)


OPERATORS = ["conv2d", "depthwise_conv2d", "transpose_conv2d", "fully_connected"]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", ["mul", "div"])
@pytest.mark.parametrize("op", OPERATORS)
def test_a_product_behind_scales_weights_and_bias(op: str, scale: str, bias: bool) -> None:
    b = GraphBuilder()
    y = product(b, op, b.input((1, 5, 5, 4), None), bias=bias)
    factors = b.constant(numbers(3, 1, 1, 1, 4) + np.float32(3))
    check(b.build(b.node(scale, [y, factors], y.shape, None, activation="relu")), [op])


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d", "fully_connected"])
def test_a_product_in_front_scales_the_columns(op: str) -> None:
    b = GraphBuilder()
    x = b.input((1, 5, 5, 4), None)
    scaled = b.node("mul", [b.constant(numbers(3, 4)), x], x.shape, None)
    check(b.build(product(b, op, scaled)), [op])


@pytest.mark.parametrize("op", OPERATORS)
def test_a_batch_norm_goes_into_the_operator_in_front(op: str) -> None:
    b = GraphBuilder()
    y = product(b, op, b.input((1, 5, 5, 4), None))
    y = b.node("mul", [y, b.constant(numbers(3, 1, 1, 1, 4))], y.shape, None)
    y = b.node("add", [y, b.constant(numbers(4, 1, 1, 1, 4))], y.shape, None)
    graph = b.build(b.node("relu", [y], y.shape, None))
    x = numbers(9, 1, 5, 5, 4)
    (before,) = run_graph(graph, x)
    run_passes(graph)
    assert [(n.op, n.activation) for n in graph.nodes] == [(op, "relu")]
    np.testing.assert_allclose(run_graph(graph, x)[0], before, rtol=1e-5, atol=1e-5)


def test_what_others_read_is_not_scaled() -> None:
    b = GraphBuilder()
    y = product(b, "conv2d", b.input((1, 5, 5, 4), None))
    graph = b.build(b.node("mul", [y, b.constant(numbers(3, 4))], y.shape, None), y)
    assert not fold_scales(graph)


def test_a_product_behind_an_activation_stays() -> None:
    b = GraphBuilder()
    y = product(b, "conv2d", b.input((1, 5, 5, 4), None))
    b.graph.nodes[-1].activation = "relu"
    graph = b.build(b.node("mul", [y, b.constant(numbers(3, 4))], y.shape, None))
    assert not fold_scales(graph)


def test_factors_along_another_axis_stay() -> None:
    b = GraphBuilder()
    y = product(b, "conv2d", b.input((1, 5, 5, 4), None))
    graph = b.build(b.node("mul", [y, b.constant(numbers(3, 5, 1))], y.shape, None))
    assert not fold_scales(graph)


def test_division_by_zero_stays() -> None:
    b = GraphBuilder()
    y = product(b, "conv2d", b.input((1, 5, 5, 4), None))
    graph = b.build(b.node("div", [y, b.constant(np.zeros(4, np.float32))], y.shape, None))
    assert not fold_scales(graph)
