"""Nodes that need not run: dead, repeated, identical to their input, or constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor, check_graph
from edgeinfer.convert.passes.canonicalize_products import canonicalize_products
from edgeinfer.convert.passes.convert_uint8 import convert_uint8
from edgeinfer.convert.passes.decompose_splits import decompose_splits
from edgeinfer.convert.passes.flatten_transposes import flatten_transposes
from edgeinfer.convert.passes.fold_constants import fold_constants
from edgeinfer.convert.passes.merge_duplicates import merge_duplicates
from edgeinfer.convert.passes.merge_reshapes import merge_reshapes
from edgeinfer.convert.passes.remove_dead_nodes import remove_dead_nodes
from edgeinfer.convert.passes.remove_identities import remove_identities
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


def check(graph: Graph, rewrite: Any, expected_operators: list[str]) -> None:
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    names = [tensor.name for tensor in graph.outputs]
    assert rewrite(graph)
    check_graph(graph)
    assert operators(graph) == expected_operators
    assert_same_meaning(expected, run(graph, inputs))
    assert [tensor.name for tensor in graph.outputs] == names


def test_dead_nodes_go_and_inputs_stay() -> None:
    b = GraphBuilder()
    x, unread = b.input((2, 3)), b.input((4,))
    y = b.node("relu", [x], (2, 3))
    b.node("tanh", [b.node("abs", [unread], (4,))], (4,))
    graph = b.build(y)
    check(graph, remove_dead_nodes, ["relu"])
    assert graph.inputs == [x, unread]


IDENTITIES = {
    "reshape": lambda b, x: b.reshape(x, x.shape),
    "transpose": lambda b, x: b.transpose(x, (1, 0, 2)),  # the axis moved over has length 1
    "slice": lambda b, x: b.node("slice", [x], x.shape, begin=(0, 0, 0), strides=(1, 1, 1)),
    "concat": lambda b, x: b.node("concat", [x], x.shape, axis=1),
    "pad": lambda b, x: b.pad(x, (0, 0, 0), (0, 0, 0)),
    "requantize": lambda b, x: b.node("requantize", [x], x.shape),
    "mean": lambda b, x: b.node("mean", [x], x.shape, axes=(0,), keep_dims=True),
    "clip": lambda b, x: b.node("clip", [x], x.shape, min=-100.0, max=100.0),
}


@pytest.mark.parametrize("op", IDENTITIES)
@pytest.mark.parametrize("at_output", [False, True])
def test_identities_are_bypassed(op: str, at_output: bool) -> None:
    b = GraphBuilder()
    x = b.node("tanh", [b.input((1, 4, 3))], (1, 4, 3))
    y = IDENTITIES[op](b, x)
    if y.shape != x.shape:  # the transpose
        y = b.transpose(y, (1, 0, 2))
    y = y if at_output else b.node("abs", [y], (1, 4, 3))
    graph = b.build(y)
    remaining = ["tanh"] if at_output else ["tanh", "abs"]
    if op == "transpose":
        flatten_transposes(graph)
        merge_reshapes(graph)
        remove_dead_nodes(graph)
    check(graph, remove_identities, remaining)


LOOKALIKES = {
    "reshape": lambda b, x: b.node("reshape", [x], x.shape, OTHER),
    "slice": lambda b, x: b.node("slice", [x], x.shape, begin=(0, 3, 0), strides=(1, -1, 1)),
    "transpose": lambda b, x: b.transpose(x, (0, 2, 1)),
    "requantize": lambda b, x: b.node("requantize", [x], x.shape, OTHER),
    "relu": lambda b, x: b.node("relu", [x], x.shape),
}


@pytest.mark.parametrize("op", LOOKALIKES)
def test_what_changes_values_stays(op: str) -> None:
    b = GraphBuilder()
    graph = b.build(LOOKALIKES[op](b, b.input((4, 4, 4))))
    assert not remove_identities(graph)


def test_relu_is_nothing_where_zero_is_the_smallest_integer() -> None:
    b = GraphBuilder()
    q = quantization(0.05, -128)
    x = b.node("abs", [b.input((4,), q)], (4,), q)
    check(b.build(b.node("relu", [x], (4,), q)), remove_identities, ["abs"])


def test_an_identity_between_input_and_output_stays() -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    graph = b.build(b.reshape(x, (2, 3)))
    assert not remove_identities(graph)


def test_one_tensor_given_out_twice_keeps_both_names() -> None:
    b = GraphBuilder()
    x = b.node("abs", [b.input((2, 3))], (2, 3))
    y = b.reshape(x, (2, 3))
    graph = b.build(x, y)
    assert not remove_identities(graph)


def test_repeated_nodes_are_merged() -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    first, second = (b.transpose(x, (1, 0)) for _ in range(2))
    y = b.node("add", [first, second], (3, 2))
    check(b.build(y), merge_duplicates, ["transpose", "add"])


@pytest.mark.parametrize("attrs", [{"activation": "relu"}, {"q": OTHER}])
def test_nodes_that_differ_are_not_merged(attrs: dict) -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    first = b.node("mul", [x, x], (2, 3), Q)
    second = b.node("mul", [x, x], (2, 3), **attrs)
    assert not merge_duplicates(b.build(b.node("add", [first, second], (2, 3))))


def test_a_repeated_graph_output_stays() -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    assert not merge_duplicates(b.build(*(b.node("abs", [x], (2, 3)) for _ in range(2))))


def test_reshapes_in_a_row_are_one() -> None:
    b = GraphBuilder()
    y = b.reshape(b.reshape(b.input((2, 3, 4)), (6, 4)), (8, 3))
    graph = b.build(y)
    check(graph, lambda g: merge_reshapes(g) and remove_dead_nodes(g), ["reshape"])


def test_a_split_is_slices() -> None:
    b = GraphBuilder()
    x = b.input((2, 6, 3))
    parts = [Tensor(f"part_{n}", (2, n, 3), "int8", Q) for n in (1, 2, 3)]
    b.graph.nodes.append(Node("split", [x], parts, {"axis": 1, "sizes": (1, 2, 3)}))
    check(b.build(*parts), decompose_splits, ["slice"] * 3)


# --- constants


def test_moves_of_constants_are_made_at_conversion() -> None:
    b = GraphBuilder()
    c = b.constant(np.arange(24, dtype=np.int8).reshape(2, 3, 4), Q)
    moved = b.transpose(b.reshape(c, (6, 4)), (1, 0))
    moved = b.node("slice", [moved], (2, 3), begin=(3, 1), strides=(-2, 2))
    moved = b.pad(moved, (0, 1), (1, 0), value=0.1)
    moved = b.node("concat", [moved, moved], (6, 4), axis=0)
    moved = b.node("gather", [moved, b.constant(np.array([0, -1], np.int32))], (6, 2), axis=1)
    y = b.node("add", [b.input((6, 2)), moved], (6, 2))
    check(b.build(y), fold_constants, ["add"])


def test_conversions_of_constants_are_made_at_conversion() -> None:
    b = GraphBuilder("onnx")
    c = b.constant(np.arange(-6, 6, dtype=np.int8).reshape(3, 4), Q)
    real = b.node("dequantize", [c], (3, 4), None)
    back = b.node("quantize", [real], (3, 4), quantization(0.0837, -7))
    again = b.node("requantize", [back], (3, 4), quantization(0.0413, 5))
    y = b.node("add", [b.input((3, 4)), again], (3, 4))
    graph = b.build(y)
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    while fold_constants(graph):
        check_graph(graph)
    assert operators(graph) == ["add"]
    assert_same_meaning(expected, run(graph, inputs))


def test_arithmetic_on_float_constants_is_done_at_conversion() -> None:
    b = GraphBuilder()
    c = b.constant(np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3))
    d = b.node(
        "mul", [c, b.constant(np.array([[3.0]], np.float32))], (2, 3), None, activation="relu6"
    )
    e = b.node("sigmoid", [b.node("sub", [d, c], (2, 3), None)], (2, 3), None)
    x = b.node("dequantize", [b.input((2, 3))], (2, 3), None)
    y = b.node("quantize", [b.node("add", [x, e], (2, 3), None)], (2, 3))
    check(b.build(y), fold_constants, ["dequantize", "add", "quantize"])


def test_integer_arithmetic_on_shapes_is_done_at_conversion() -> None:
    b = GraphBuilder()
    c = b.constant(np.array([2, 3], np.int64))
    total = b.node("add", [c, b.constant(np.array([1, -1], np.int64))], (2,), None, "int64")
    y = b.node("gather", [b.input((4, 4)), total], (2, 4), axis=0)
    graph = b.build(y)
    check(graph, fold_constants, ["gather"])
    np.testing.assert_array_equal(graph.nodes[0].input(1).data, [3, 2])


def test_an_index_out_of_range_is_left_for_lowering_to_refuse() -> None:
    b = GraphBuilder()
    c = b.constant(np.zeros((2, 2), np.float32))
    y = b.node("gather", [c, b.constant(np.array([5], np.int32))], (1, 2), None, axis=0)
    assert not fold_constants(b.build(y))


def test_a_constant_graph_output_keeps_its_name() -> None:
    b = GraphBuilder()
    y = b.reshape(b.constant(np.arange(6, dtype=np.int8), Q), (2, 3))
    check(b.build(y), fold_constants, [])


# --- products


def per_channel(shape: tuple[int, ...], axis: int) -> tuple[np.ndarray, Quantization]:
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.01, 0.03, shape[axis]).astype(np.float32)
    data = rng.integers(-128, 128, shape).astype(np.int8)
    return data, Quantization(scales, np.zeros(scales.size, np.int64), axis)


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("lead", [(), (1, 1)])
def test_matmul_with_weights_is_fully_connected(transpose_b: bool, lead: tuple) -> None:
    b = GraphBuilder()
    shape = (*lead, 5, 4) if transpose_b else (*lead, 4, 5)
    w = b.constant(*per_channel(shape, len(lead) + (0 if transpose_b else 1)))
    x = b.input((2, 3, 2, 4))
    y = b.node(
        "batch_matmul",
        [x, w],
        (2, 3, 2, 5),
        quantization(0.5, 0),
        transpose_a=False,
        transpose_b=transpose_b,
    )
    check(b.build(y), canonicalize_products, ["fully_connected"])


def test_matmul_with_asymmetric_constants_stays() -> None:
    b = GraphBuilder()
    w = b.constant(np.ones((4, 5), np.int8), Q)
    y = b.node("batch_matmul", [b.input((3, 4)), w], (3, 5), transpose_a=False, transpose_b=False)
    assert not canonicalize_products(b.build(y))


def test_fully_connected_with_computed_weights_is_matmul() -> None:
    b = GraphBuilder()
    y = b.node("fully_connected", [b.input((3, 4)), b.input((5, 4)), None], (3, 5), OTHER)
    check(b.build(y), canonicalize_products, ["batch_matmul"])


@pytest.mark.parametrize("multiplier", [1, 2])
def test_convolution_of_one_channel_per_group_is_depthwise(multiplier: int) -> None:
    b = GraphBuilder()
    x = b.input((1, 5, 5, 3))
    w = b.constant(*per_channel((3 * multiplier, 2, 3, 1), 0))
    geometry: Any = {"strides": (1, 2), "dilations": (1, 1), "pads": (1, 0, 0, 0), "groups": 3}
    y = b.node("conv2d", [x, w, None], (1, 5, 2, 3 * multiplier), OTHER, **geometry)
    check_products(b, y, "depthwise_conv2d")


def test_depthwise_of_one_channel_is_a_convolution() -> None:
    b = GraphBuilder()
    w = b.constant(*per_channel((2, 3, 4), 2))
    geometry: Any = {"strides": (1, 2), "dilations": (1, 1), "pads": (1, 0, 0, 0)}
    y = b.node(
        "depthwise_conv2d", [b.input((1, 5, 5, 1)), w, None], (1, 5, 2, 4), OTHER, **geometry
    )
    check_products(b, y, "conv2d")


def check_products(b: GraphBuilder, y: Tensor, op: str) -> None:
    check(b.build(y), canonicalize_products, [op])


# --- uint8


def test_uint8_inside_becomes_int8_and_stays_at_the_boundary() -> None:
    b = GraphBuilder()
    q = quantization(0.05, 131)
    x = b.input((1, 4, 4, 2), q, "uint8")
    w = b.constant(np.arange(8, dtype=np.uint8).reshape(4, 1, 1, 2) + 120, quantization(0.02, 128))
    geometry: Any = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1), "groups": 1}
    y = b.node("conv2d", [x, w, None], (1, 6, 6, 4), q, "uint8", **geometry)
    y = b.node("add", [y, y], y.shape, q, "uint8")
    graph = b.build(y)
    check(graph, convert_uint8, ["requantize", "conv2d", "add", "requantize"])
    assert graph.inputs[0].dtype == graph.outputs[0].dtype == "uint8"
    assert all(node.output.dtype == "int8" for node in graph.nodes[:-1])
    assert graph.nodes[1].input(1).dtype == "int8"
    assert not convert_uint8(graph)


def test_operators_that_read_and_write_bytes_stand_at_the_boundary() -> None:
    b = GraphBuilder()
    q = quantization(0.05, 131)
    x = b.input((4,), q, "uint8")
    y = b.node("requantize", [b.node("requantize", [x], (4,), OTHER)], (4,), q, "uint8")
    assert not convert_uint8(b.build(y))


def test_plain_bytes_stay() -> None:
    b = GraphBuilder()
    x = b.input((4,), None, "uint8")
    y = b.node("reshape", [x], (2, 2), None, "uint8")
    assert not convert_uint8(b.build(y))
