"""Float32 gaps that quantised sources leave are closed; what is float in the source stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.convert.graph import Graph, Quantization, Tensor, check_graph
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.passes.propagate_quantization import (
    propagate_quantization,
    split_conversions,
)
from edgeinfer.convert.passes.remove_dead_nodes import remove_dead_nodes
from tests.convert.graphs import (
    GraphBuilder,
    Q,
    assert_same_meaning,
    operators,
    quantization,
    random_inputs,
    run,
)

OTHER = quantization(0.08, -7)


def check(graph: Graph, expected_operators: list[str], seed: int = 0) -> None:
    """The pass, to its end, leaves these operators and the meaning."""
    inputs = random_inputs(graph, seed)
    expected = run(graph, inputs)
    while propagate_quantization(graph):
        check_graph(graph)
    remove_dead_nodes(graph)
    check_graph(graph)
    assert operators(graph) == expected_operators
    assert_same_meaning(expected, run(graph, inputs))


def dequantize(b: GraphBuilder, x: Tensor) -> Tensor:
    return b.node("dequantize", [x], x.shape, None)


def quantize(b: GraphBuilder, x: Tensor, q: Quantization = Q) -> Tensor:
    return b.node("quantize", [x], x.shape, q)


def test_dequantize_sinks_behind_moves() -> None:
    b = GraphBuilder()
    x = dequantize(b, b.input((2, 3, 4)))
    y = b.transpose(b.reshape(x, (6, 4)), (1, 0))
    check(b.build(y), ["reshape", "transpose", "dequantize"])


def test_dequantize_sinks_behind_concat_of_one_quantisation_only() -> None:
    b = GraphBuilder()
    x = [dequantize(b, b.input((2, 3))) for _ in range(2)]
    y = b.node("concat", x, (4, 3), None, axis=0)
    check(b.build(y), ["concat", "dequantize"])

    b = GraphBuilder()
    x = [dequantize(b, b.input((2, 3), q)) for q in (Q, OTHER)]
    y = b.node("concat", x, (4, 3), None, axis=0)
    check(b.build(y), ["dequantize", "dequantize", "concat"])


@pytest.mark.parametrize(
    ("value", "sinks"), [(0.0, True), (0.05, True), (0.02, False), (99, False)]
)
def test_dequantize_sinks_behind_a_pad_with_a_quantised_number(value: float, sinks: bool) -> None:
    b = GraphBuilder()
    x = dequantize(b, b.input((2, 3)))
    y = b.pad(x, (1, 0), (0, 1), value=value)
    check(b.build(y), ["pad", "dequantize"] if sinks else ["dequantize", "pad"])


def test_quantize_rises_in_front_of_moves_and_maxima() -> None:
    b = GraphBuilder()
    x = b.input((1, 4, 4, 3), None)
    pooled = b.node(
        "max_pool2d",
        [b.pad(x, (0, 1, 1, 0), (0, 1, 1, 0), value=-1.0)],
        (1, 3, 3, 3),
        None,
        kernel=(2, 2),
        strides=(2, 2),
        dilations=(1, 1),
        pads=(0, 0, 0, 0),
    )
    y = quantize(b, b.reshape(pooled, (1, 27)))
    check(b.build(y), ["quantize", "pad", "max_pool2d", "reshape"])


def test_quantize_does_not_rise_over_a_reader_of_the_float() -> None:
    b = GraphBuilder()
    moved = b.reshape(b.input((2, 3), None), (6,))
    check(b.build(quantize(b, moved), moved), ["reshape", "quantize"])


def test_operators_read_and_write_the_quantised_tensors() -> None:
    b = GraphBuilder()
    x, y = dequantize(b, b.input((2, 3))), dequantize(b, b.input((2, 3), OTHER))
    z = quantize(b, b.node("add", [x, y], (2, 3), None), OTHER)
    check(b.build(z), ["add"])


def test_a_float_result_with_another_reader_stays_float() -> None:
    b = GraphBuilder()
    x = dequantize(b, b.input((2, 3)))
    total = b.node("add", [x, x], (2, 3), None)
    check(b.build(quantize(b, total), total), ["add", "quantize"])


def test_quantizes_of_one_result_become_one() -> None:
    b = GraphBuilder()
    x = dequantize(b, b.input((2, 3)))
    total = b.node("add", [x, x], (2, 3), None)
    first, second = quantize(b, total), quantize(b, total)
    y = b.node("mul", [first, second], (2, 3), OTHER)
    check(b.build(y), ["add", "mul"])


def test_quantizes_that_differ_keep_the_float() -> None:
    b = GraphBuilder()
    x = dequantize(b, b.input((2, 3)))
    total = b.node("add", [x, x], (2, 3), None)
    check(b.build(quantize(b, total), quantize(b, total, OTHER)), ["add", "quantize", "quantize"])


def test_quantize_of_dequantize_is_a_requantize() -> None:
    b = GraphBuilder()
    y = quantize(b, dequantize(b, b.input((2, 3))), OTHER)
    check(b.build(y), ["requantize"])


def test_per_channel_weights_follow_their_axis() -> None:
    b = GraphBuilder()
    x = b.input((2, 4))
    w = b.weights(1, (4, 3), (0.01, 0.02, 0.03), axis=1)
    moved = b.reshape(b.transpose(dequantize(b, w), (1, 0)), (3, 1, 4))
    y = b.node("fully_connected", [x, b.reshape(moved, (3, 4)), None], (2, 3), OTHER)
    graph = b.build(y)
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    run_passes(graph)
    (node,) = graph.nodes
    weights = node.input(1)
    assert weights.quantization is not None
    assert weights.dtype == "int8" and weights.quantization.axis == 0
    assert_same_meaning(expected, run(graph, inputs))


@pytest.mark.parametrize("to", [None, OTHER])
def test_a_move_between_two_types_gets_a_conversion_behind_it(to: Quantization | None) -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    y = b.node("reshape", [x], (6,), to)
    graph = b.build(y)
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    assert split_conversions(graph)
    check_graph(graph)
    assert operators(graph) == ["reshape", "dequantize" if to is None else "requantize"]
    assert_same_meaning(expected, run(graph, inputs))


def test_operands_of_concat_and_maximum_are_brought_to_the_result() -> None:
    cases: Any = [("concat", (4, 3), {"axis": 0}), ("maximum", (2, 3), {})]
    for op, shape, attrs in cases:
        b = GraphBuilder()
        operands = [b.input((2, 3), q) for q in (Q, OTHER)]
        graph = b.build(b.node(op, operands, shape, OTHER, **attrs))
        inputs = random_inputs(graph, 0)
        expected = run(graph, inputs)
        assert split_conversions(graph)
        check_graph(graph)
        assert operators(graph) == ["requantize", op]
        assert_same_meaning(expected, run(graph, inputs))


def test_max_pool_between_two_quantisations_requantizes_the_smaller_tensor() -> None:
    b = GraphBuilder()
    window: Any = {"kernel": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
    y = b.node("max_pool2d", [b.input((1, 4, 4, 2))], (1, 2, 2, 2), OTHER, **window)
    graph = b.build(y)
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    run_passes(graph)
    assert operators(graph) == ["max_pool2d", "requantize"]
    assert_same_meaning(expected, run(graph, inputs))


def test_a_pad_between_two_quantisations_requantizes_the_smaller_tensor() -> None:
    b = GraphBuilder()
    y = b.node(
        "pad",
        [b.input((2, 3))],
        (4, 3),
        OTHER,
        before=(1, 0),
        after=(1, 0),
        mode="constant",
        value=0.0,
    )
    graph = b.build(y)
    assert split_conversions(graph)
    assert operators(graph) == ["requantize", "pad"]


def test_conv_relu_quantize_becomes_one_node() -> None:
    b = GraphBuilder()
    y = b.conv2d(b.input((1, 5, 5, 2)), 3, q=None)
    y = quantize(b, b.node("relu", [y], y.shape, None), quantization(0.5, -128))
    graph = b.build(y)
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    run_passes(graph)
    assert operators(graph) == ["conv2d"]
    assert graph.nodes[0].activation == "relu"
    assert graph.nodes[0].absorbed
    assert_same_meaning(expected, run(graph, inputs))
    assert np.ptp(expected[0].astype(int)) > 0
