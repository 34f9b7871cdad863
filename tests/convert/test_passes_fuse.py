"""Activations, biases, pads and elementwise chains go into the operators beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.convert.graph import Graph, Quantization, check_graph
from edgeinfer.convert.lower.lower_graph import lower
from edgeinfer.convert.passes.fold_pads import fold_pads
from edgeinfer.convert.passes.fuse_activations import fuse_activations
from edgeinfer.convert.passes.fuse_bias_adds import fuse_bias_adds
from edgeinfer.convert.passes.fuse_pointwise import fuse_pointwise
from edgeinfer.convert.passes.remove_dead_nodes import remove_dead_nodes
from edgeinfer.convert.passes.split_activations import split_activations
from tests.convert.graphs import (
    GraphBuilder,
    Q,
    assert_same_meaning,
    operators,
    quantization,
    random_inputs,
    run,
)

COARSE = quantization(0.4, -20)


def check(graph: Graph, rewrite: Any, expected_operators: list[str], steps: int = 0) -> None:
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    assert rewrite(graph)
    remove_dead_nodes(graph)
    check_graph(graph)
    assert operators(graph) == expected_operators
    assert_same_meaning(expected, run(graph, inputs), steps)


# --- activations


@pytest.mark.parametrize("middle", [None, COARSE])
@pytest.mark.parametrize("op", ["relu", "relu6", "clip"])
def test_clamps_fuse_into_their_producer(middle: Quantization | None, op: str) -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=middle)
    attrs: Any = {"min": -1.5, "max": None} if op == "clip" else {}
    graph = b.build(b.node(op, [x], x.shape, COARSE, **attrs))
    check(graph, fuse_activations, ["conv2d"])
    expected = ("clip", -1.5, None) if op == "clip" else op
    assert graph.nodes[0].activation == expected


@pytest.mark.parametrize("middle", [None, COARSE])
def test_a_clamp_behind_moves_fuses_into_what_made_the_values(
    middle: Quantization | None,
) -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 1, 5, 2)), 4, kernel=1, q=middle)
    x = b.transpose(b.reshape(x, (1, 5, 4)), (0, 2, 1))
    graph = b.build(b.node("relu", [x], x.shape, COARSE))
    check(graph, fuse_activations, ["conv2d", "reshape", "transpose"])
    assert graph.nodes[0].activation == "relu"


def test_a_clamp_behind_a_move_that_others_read_stays() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 1, 5, 2)), 4, kernel=1, q=COARSE)
    moved = b.reshape(x, (1, 5, 4))
    graph = b.build(b.node("relu", [moved], moved.shape, COARSE), x)
    assert not fuse_activations(graph)


def test_a_clamp_after_rounding_to_another_scale_stays() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=COARSE)
    graph = b.build(b.node("relu", [x], x.shape, quantization(0.3, -128)))
    assert not fuse_activations(graph)


def test_a_clamp_of_a_tensor_with_another_reader_stays() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=COARSE)
    graph = b.build(b.node("relu", [x], x.shape, COARSE), x)
    assert not fuse_activations(graph)


def test_clamps_in_a_row_become_one_range() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=None)
    x = b.node("clip", [x], x.shape, None, min=-2.0, max=8.0)
    graph = b.build(b.node("relu6", [x], x.shape, COARSE))
    check(graph, fuse_activations, ["conv2d"])
    assert graph.nodes[0].activation == "relu6"


def test_a_range_outside_of_the_range_before_it_is_one_value() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=None)
    x = b.node("relu6", [x], x.shape, None)
    graph = b.build(b.node("clip", [x], x.shape, COARSE, min=8.0, max=9.0))
    check(graph, fuse_activations, ["conv2d"])
    assert graph.nodes[0].activation == ("clip", 8.0, 8.0)


def test_a_concatenation_with_an_activation_gets_a_clamp_behind_it() -> None:
    b = GraphBuilder()
    x = b.input((2, 3), COARSE)
    y = b.node("concat", [x, x], (4, 3), COARSE, axis=0, activation="relu6")
    graph = b.build(y)
    check(graph, split_activations, ["concat", "clip"])
    assert not split_activations(graph)


# --- biases


def test_a_float_sum_with_a_constant_per_channel_is_a_bias() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=None)
    addend = b.constant(np.array([[[[5.0, -7.5, 0.25]]]], np.float32))
    graph = b.build(b.node("add", [addend, x], x.shape, COARSE, activation="relu"))
    check(graph, fuse_bias_adds, ["conv2d"])
    assert graph.nodes[0].activation == "relu"
    np.testing.assert_array_equal(
        graph.nodes[0].input(2).data, np.array([5.0, -7.5, 0.25], np.float32)
    )


def test_a_quantised_constant_is_a_bias_and_a_difference_a_negative_one() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=None)
    addend = b.weights(4, (3,), 0.5)
    graph = b.build(b.node("sub", [x, addend], x.shape, COARSE))
    check(graph, fuse_bias_adds, ["conv2d"])


@pytest.mark.parametrize("shape", [(1, 3, 3, 3), (3, 1, 1)])
def test_a_sum_with_more_than_a_value_per_channel_stays(shape: tuple[int, ...]) -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=None)
    graph = b.build(b.node("add", [x, b.constant(np.ones(shape, np.float32))], x.shape, COARSE))
    assert not fuse_bias_adds(graph)


def test_a_sum_of_a_rounded_tensor_stays() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 5, 5, 2)), 3, q=COARSE)
    graph = b.build(b.node("add", [x, b.constant(np.ones(3, np.float32))], x.shape, COARSE))
    assert not fuse_bias_adds(graph)


# --- pads


def pooled(b: GraphBuilder, op: str, x: Any, q: Quantization = Q, **attrs: Any) -> Any:
    window = {"kernel": (3, 3), "strides": (1, 1), "pads": (0, 0, 0, 0), **attrs}
    window |= {"dilations": (1, 1)} if op == "max_pool2d" else {"count_include_pad": False}
    n, height, width, depth = x.shape
    top, left, bottom, right = window["pads"]
    return b.node(
        op, [x], (n, height + top + bottom - 2, width + left + right - 2, depth), q, **window
    )


def test_a_pad_with_zeros_goes_into_a_convolution() -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 5, 5, 2)), (0, 1, 0, 0), (0, 2, 3, 0))
    graph = b.build(b.conv2d(padded, 3, q=COARSE, pads=(1, 1, 0, 0)))
    check(graph, fold_pads, ["conv2d"])
    assert graph.nodes[0].attrs["pads"] == (2, 1, 2, 3)


@pytest.mark.parametrize(
    ("before", "attrs"),
    [
        ((0, 1, 1, 0), {"value": 1.0}),
        ((0, 1, 1, 0), {"mode": "reflect"}),
        ((0, 1, 1, 1), {}),
        ((1, 1, 1, 0), {}),
    ],
)
def test_another_pad_stays_in_front_of_a_convolution(before: tuple, attrs: dict) -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 5, 5, 2)), before, (0, 0, 0, 0), **attrs)
    assert not fold_pads(b.build(b.conv2d(padded, 3, q=COARSE)))


def test_a_pad_with_zeros_goes_into_an_average_that_counts_them() -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 5, 5, 2)), (0, 1, 1, 0), (0, 1, 1, 0))
    graph = b.build(pooled(b, "avg_pool2d", padded))
    check(graph, fold_pads, ["avg_pool2d"])
    assert graph.nodes[0].attrs["count_include_pad"]


def test_averages_of_stored_integers_keep_their_pad() -> None:
    b = GraphBuilder("tflite")  # Q has a zero point, which would be left out of the sum
    padded = b.pad(b.input((1, 5, 5, 2)), (0, 1, 1, 0), (0, 1, 1, 0))
    assert not fold_pads(b.build(pooled(b, "avg_pool2d", padded)))


def test_averages_that_leave_their_own_padding_out_keep_their_pad() -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 5, 5, 2)), (0, 1, 1, 0), (0, 1, 1, 0))
    assert not fold_pads(b.build(pooled(b, "avg_pool2d", padded, pads=(1, 1, 1, 1))))


@pytest.mark.parametrize(("value", "folds"), [(-1e9, True), (-np.inf, True), (0.0, False)])
def test_a_pad_goes_into_a_maximum_when_it_is_the_smallest_number(
    value: float, folds: bool
) -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 5, 5, 2)), (0, 1, 1, 0), (0, 1, 1, 0), value=value)
    graph = b.build(pooled(b, "max_pool2d", padded))
    if folds:
        check(graph, fold_pads, ["max_pool2d"])
    else:
        assert not fold_pads(graph)


def test_zero_is_the_smallest_number_behind_a_relu() -> None:
    b = GraphBuilder()
    q = quantization(0.05, -128)
    padded = b.pad(b.input((1, 5, 5, 2), q), (0, 1, 1, 0), (0, 1, 1, 0))
    check(b.build(pooled(b, "max_pool2d", padded, q)), fold_pads, ["max_pool2d"])


def test_a_maximum_of_nothing_but_padding_keeps_its_pad() -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 5, 5, 2)), (0, 3, 0, 0), (0, 0, 0, 0), value=-1e9)
    assert not fold_pads(b.build(pooled(b, "max_pool2d", padded)))


def test_readers_of_one_pad_fold_it_on_their_own() -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 5, 5, 2)), (0, 1, 1, 0), (0, 1, 1, 0))
    outputs = [b.conv2d(padded, 3, q=COARSE), b.node("relu", [padded], padded.shape)]
    check(b.build(*outputs), fold_pads, ["pad", "conv2d", "relu"])


# --- chains of elementwise operators


def table_of(graph: Graph) -> np.ndarray:
    """The one table of a lowered graph."""
    lowered = lower(graph)
    assert lowered.problems == []
    (operation,) = lowered.program.operations
    assert operation.operator == "lut8"
    table = operation.inputs[1]
    assert table is not None and table.data is not None
    return table.data


def all_int8(graph: Graph) -> np.ndarray:
    """What the graph means for every int8, in the order of the table."""
    x = np.arange(256, dtype=np.uint8).view(np.int8).reshape(graph.inputs[0].shape)
    return run(graph, [x])[0].reshape(-1)


def test_a_chain_of_tables_is_one_table() -> None:
    b = GraphBuilder()
    x = b.input((256,))
    y = b.node("tanh", [b.node("relu", [x], (256,), COARSE)], (256,), quantization(1 / 128, 0))
    graph = b.build(y)
    expected = all_int8(graph)
    check(graph, fuse_pointwise, ["pointwise"])
    assert np.abs(table_of(graph).astype(int) - expected).max() <= 1
    assert graph.nodes[0].absorbed == ("the relu_2",)


def test_what_an_exporter_makes_of_hard_swish_is_one_table() -> None:
    b = GraphBuilder()
    x = b.input((256,))
    three, six = (b.constant(np.array(v, np.float32)) for v in (3.0, 1 / 6))
    gate = b.node("add", [x, three], (256,), None)
    gate = b.node("clip", [gate], (256,), None, min=0.0, max=6.0)
    gate = b.node("mul", [gate, six], (256,), None)
    graph = b.build(b.node("mul", [x, gate], (256,), COARSE))
    expected = all_int8(graph)
    check(graph, fuse_pointwise, ["pointwise"])
    assert np.abs(table_of(graph).astype(int) - expected).max() <= 1  # float32 or float64


def test_swish_of_quantised_parts_keeps_their_rounding() -> None:
    b = GraphBuilder()
    x = b.input((256,))
    gate = b.node("sigmoid", [x], (256,), quantization(1 / 256, -128))
    graph = b.build(b.node("mul", [x, gate], (256,), COARSE))
    expected = all_int8(graph)
    check(graph, fuse_pointwise, ["pointwise"])
    assert np.abs(table_of(graph).astype(int) - expected).max() <= 1


def test_an_operation_with_a_number_is_a_table() -> None:
    b = GraphBuilder()
    x = b.input((256,))
    number = b.constant(np.array([[100]], np.int8), COARSE)
    graph = b.build(b.node("add", [number, x], (1, 256), COARSE))
    assert not fuse_pointwise(graph)  # the shape changes
    b = GraphBuilder()
    x = b.input((256,))
    number = b.constant(np.array([100], np.int8), COARSE)
    graph = b.build(b.node("sub", [number, x], (256,), COARSE))
    expected = all_int8(graph)
    check(graph, fuse_pointwise, ["pointwise"])
    assert np.abs(table_of(graph).astype(int) - expected).max() <= 1


def test_a_chain_ends_at_a_tensor_that_is_needed() -> None:
    b = GraphBuilder()
    x = b.input((256,))
    middle = b.node("relu", [x], (256,), COARSE)
    end = b.node("tanh", [middle], (256,), quantization(1 / 128, 0))
    graph = b.build(middle, end)
    assert not fuse_pointwise(graph)
    assert operators(graph) == ["relu", "tanh"]


def test_two_different_tensors_make_no_table() -> None:
    b = GraphBuilder()
    x, y = b.input((256,)), b.input((256,))
    graph = b.build(b.node("mul", [x, b.node("relu", [y], (256,), COARSE)], (256,), COARSE))
    assert not fuse_pointwise(graph)


def test_a_float_result_is_a_table_of_floats() -> None:
    b = GraphBuilder()
    x = b.input((256,))
    y = b.node("neg", [b.node("sigmoid", [x], (256,), None)], (256,), None)
    graph = b.build(y)
    expected = all_int8(graph)
    check(graph, fuse_pointwise, ["pointwise"])
    np.testing.assert_allclose(table_of(graph), expected, rtol=1e-6)
