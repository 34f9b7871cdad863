"""Transposes of NCHW sources go, and what the graph means stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert.graph import Tensor, check_graph
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.passes.cancel_transposes import (
    cancel_transposes,
    raise_transposes,
    transposed_bytes,
)
from edgeinfer.convert.passes.permutations import (
    compose,
    inverse,
    moves_nothing,
    permuted,
    reshape_then_transpose,
    split_at_reshape,
    transpose_then_reshape,
)
from edgeinfer.convert.passes.split_transposes import split_transposes
from tests.convert.graphs import (
    NCHW_TO_NHWC,
    NHWC_TO_NCHW,
    GraphBuilder,
    assert_same_meaning,
    operators,
    quantization,
    random_inputs,
    run,
)

extents = st.integers(1, 4)


def conv_nchw(b: GraphBuilder, x: Tensor, channels: int, seed: int = 0) -> Tensor:
    """A convolution as a frontend for an NCHW source writes it."""
    y = b.conv2d(b.transpose(x, NCHW_TO_NHWC), channels, pads=(1, 1, 1, 1), seed=seed)
    return b.transpose(y, NHWC_TO_NCHW)


def check(b: GraphBuilder, *outputs: Tensor, transposes: int, seed: int = 0) -> list[str]:
    """Run the pass; the meaning stays, `transposes` that move bytes are left."""
    graph = b.build(*outputs)
    inputs = random_inputs(graph, seed)
    expected = run(graph, inputs)
    assert cancel_transposes(graph)
    check_graph(graph)
    assert_same_meaning(expected, run(graph, inputs))
    left = [
        node
        for node in graph.nodes
        if node.op == "transpose" and not moves_nothing(node.input(0).shape, node.attrs["perm"])
    ]
    assert len(left) == transposes, operators(graph)
    return operators(graph)


def test_inverse_pair_between_convolutions_goes() -> None:
    b = GraphBuilder()
    x = b.input((1, 3, 6, 5))
    y = conv_nchw(b, conv_nchw(b, x, 4), 2, seed=1)
    check(b, y, transposes=2)  # one at the input, one at the output


def test_residual_block_keeps_no_transpose_inside() -> None:
    b = GraphBuilder()
    x = conv_nchw(b, b.input((1, 3, 6, 5)), 4)
    inner = b.node("relu", [conv_nchw(b, x, 4, seed=1)], x.shape)
    y = b.node("add", [x, conv_nchw(b, inner, 4, seed=2)], x.shape)
    check(b, conv_nchw(b, y, 2, seed=3), transposes=2)


def test_squeeze_and_excite_keeps_no_transpose_inside() -> None:
    b = GraphBuilder()
    x = conv_nchw(b, b.input((1, 3, 6, 5)), 4)
    pooled = b.node("mean", [x], (1, 4, 1, 1), axes=(2, 3), keep_dims=True)
    squeezed = b.transpose(
        b.conv2d(b.transpose(pooled, NCHW_TO_NHWC), 4, kernel=1, seed=1), NHWC_TO_NCHW
    )
    gate = b.node("sigmoid", [squeezed], (1, 4, 1, 1), quantization(1 / 256, -128))
    y = b.node("mul", [x, gate], x.shape)
    check(b, conv_nchw(b, y, 2, seed=2), transposes=2)


def test_operand_with_one_long_axis_is_reshaped() -> None:
    b = GraphBuilder()
    x = conv_nchw(b, b.input((1, 3, 6, 5)), 4)
    per_channel = b.input((4, 1, 1))
    y = b.node("add", [per_channel, x], x.shape)
    check(b, conv_nchw(b, y, 2, seed=2), transposes=2)


def test_constant_operand_is_transposed_at_conversion() -> None:
    b = GraphBuilder()
    x = conv_nchw(b, b.input((1, 3, 6, 5)), 4)
    table = b.weights(3, (4, 6, 5), 0.05)
    y = b.node("mul", [x, table], x.shape)
    check(b, conv_nchw(b, y, 2, seed=2), transposes=2)


def test_pixels_are_normalised_in_the_layout_of_the_convolution() -> None:
    b = GraphBuilder()
    pixels = b.transpose(b.input((1, 6, 5, 3), None, "int32"), NHWC_TO_NCHW)
    real = b.node("cast", [pixels], pixels.shape, None)
    deviations = b.constant(np.array([2, 3, 7], np.float32).reshape(1, 3, 1, 1))
    y = b.transpose(b.node("div", [real, deviations], pixels.shape, None), NCHW_TO_NHWC)
    assert check(b, y, transposes=0) == ["cast", "div"]


def test_operand_in_another_layout_stays_as_it_is() -> None:
    b = GraphBuilder()
    x = b.transpose(b.input((1, 6, 5, 4)), NHWC_TO_NCHW)
    y = b.node("add", [x, b.input((1, 4, 6, 5))], x.shape)
    graph = b.build(y)
    assert not cancel_transposes(graph)
    assert operators(graph) == ["transpose", "add"]


def test_channel_shuffle_needs_one_transpose() -> None:
    b = GraphBuilder()
    x = conv_nchw(b, b.input((1, 3, 6, 5)), 4)
    grouped = b.transpose(b.reshape(x, (1, 2, 2, 6, 5)), (0, 2, 1, 3, 4))
    y = conv_nchw(b, b.reshape(grouped, (1, 4, 6, 5)), 2, seed=1)
    check(b, y, transposes=3)  # the shuffle, and one at each end


def test_channel_shuffle_between_others_is_split() -> None:
    """Without a transpose behind the shuffle to be raised through it."""
    b = GraphBuilder()
    x = conv_nchw(b, b.input((1, 3, 6, 5)), 8)
    grouped = b.transpose(b.reshape(x, (1, 2, 4, 6, 5)), (0, 2, 1, 3, 4))
    shuffled = b.reshape(grouped, (1, 8, 6, 5))
    halves = [
        b.node("slice", [shuffled], (1, 4, 6, 5), begin=(0, 4 * i, 0, 0), strides=(1, 1, 1, 1))
        for i in (0, 1)
    ]
    joined = b.node("concat", [halves[0], conv_nchw(b, halves[1], 4)], (1, 8, 6, 5), axis=1)
    graph = b.build(conv_nchw(b, joined, 2, seed=1))
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    cancel_transposes(graph)
    assert operators(graph).count("transpose") > 3
    assert split_transposes(graph)
    check_graph(graph)
    assert operators(graph).count("transpose") == 3  # the shuffle, and one at each end
    assert_same_meaning(expected, run(graph, inputs))


def test_a_split_that_does_not_pay_is_not_made() -> None:
    b = GraphBuilder()
    x = b.transpose(b.input((2, 3, 4)), (1, 0, 2))
    graph = b.build(b.reshape(x, (3, 8)))
    assert not split_transposes(graph)
    assert operators(graph) == ["transpose", "reshape"]


def test_flatten_in_front_of_fully_connected_reorders_the_weights() -> None:
    b = GraphBuilder()
    x = conv_nchw(b, b.input((2, 3, 6, 5)), 4)
    flat = b.reshape(x, (2, 120))
    w = b.weights(5, (7, 120))
    y = b.node("fully_connected", [flat, w, None], (2, 7), quantization(1.0, 0))
    check(b, y, transposes=1)  # at the input


def test_flatten_of_one_pixel_needs_nothing() -> None:
    b = GraphBuilder()
    x = conv_nchw(b, b.input((1, 3, 6, 5)), 4)
    pooled = b.node("mean", [x], (1, 4, 1, 1), axes=(2, 3), keep_dims=True)
    check(b, b.reshape(pooled, (1, 4)), transposes=1)


def test_fully_connected_is_passed_where_the_last_axis_stays() -> None:
    b = GraphBuilder()
    x = b.transpose(b.input((2, 3, 4)), (1, 0, 2))
    y = b.node("fully_connected", [x, b.weights(5, (7, 4)), None], (3, 2, 7))
    back = b.transpose(y, (1, 0, 2))
    check(b, back, transposes=0)

    b = GraphBuilder()
    x = b.transpose(b.input((2, 3, 4)), (0, 2, 1))
    y = b.node("fully_connected", [x, b.weights(5, (7, 3)), None], (2, 4, 7))
    graph = b.build(b.transpose(y, (0, 2, 1)))
    assert not cancel_transposes(graph)


def test_a_flatten_of_some_axes_only_stops_a_transpose() -> None:
    """Rows of the product would hold values of several rows: no order of columns helps."""
    b = GraphBuilder()
    x = b.transpose(b.input((2, 3, 4)), (1, 2, 0))
    y = b.node("fully_connected", [b.reshape(x, (6, 4)), b.weights(5, (7, 4)), None], (6, 7))
    graph = b.build(y)
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    cancel_transposes(graph)
    assert_same_meaning(expected, run(graph, inputs))
    assert operators(graph).count("transpose") == 1


def test_a_graph_output_keeps_its_name_and_layout() -> None:
    b = GraphBuilder()
    y = conv_nchw(b, b.input((1, 3, 6, 5)), 4)
    graph = b.build(y)
    run_passes(graph)
    assert graph.outputs == [y]


AXIS_OPERATORS = {
    "softmax": lambda b, x, axis: b.node(
        "softmax", [x], x.shape, quantization(1 / 256, -128), axis=axis, beta=1.0
    ),
    "concat": lambda b, x, axis: b.node(
        "concat",
        [x, x],
        [2 * n if i == axis else n for i, n in enumerate(x.shape)],
        axis=axis,
    ),
    "mean": lambda b, x, axis: b.node(
        "mean", [x], [n for i, n in enumerate(x.shape) if i != axis], axes=(axis,), keep_dims=False
    ),
    "sum": lambda b, x, axis: b.node(
        "sum",
        [x],
        [1 if i == axis else n for i, n in enumerate(x.shape)],
        quantization(0.2, -3),
        axes=(axis,),
        keep_dims=True,
    ),
    "argmax": lambda b, x, axis: b.node(
        "argmax",
        [x],
        [n for i, n in enumerate(x.shape) if i != axis],
        None,
        "int64",
        axis=axis,
        keep_dims=False,
        select_last=False,
    ),
    "pad": lambda b, x, axis: b.pad(
        x, [i == axis for i in range(4)], [2 * (i == axis) for i in range(4)]
    ),
    "slice": lambda b, x, axis: b.node(
        "slice",
        [x],
        [n - 1 if i == axis and n > 1 else n for i, n in enumerate(x.shape)],
        begin=tuple(int(i == axis and n > 1) for i, n in enumerate(x.shape)),
        strides=(1, 1, 1, 1),
    ),
    "gather": lambda b, x, axis: b.node(
        "gather",
        [x, b.constant(np.array([[0, -1]], np.int64))],
        (*x.shape[:axis], 1, 2, *x.shape[axis + 1 :]),
        axis=axis,
    ),
    "relu": lambda b, x, axis: b.node("relu", [x], x.shape),
    "sub": lambda b, x, axis: b.node("sub", [b.weights(1, (1,)), x], x.shape),
}


@pytest.mark.parametrize("op", AXIS_OPERATORS)
@given(
    st.tuples(extents, extents, extents, extents),
    st.permutations(range(4)),
    st.integers(0, 3),
    st.integers(0, 1000),
)
def test_every_operator_sinks(op: str, shape: tuple, perm: list, axis: int, seed: int) -> None:
    b = GraphBuilder()
    x = b.transpose(b.input(shape), perm)
    y = AXIS_OPERATORS[op](b, x, axis)
    graph = b.build(y)
    inputs = random_inputs(graph, seed)
    expected = run(graph, inputs)
    cancel_transposes(graph)
    check_graph(graph)
    assert_same_meaning(expected, run(graph, inputs))
    assert graph.nodes[0].op != "transpose" or operators(graph) == ["transpose"]


@given(st.lists(extents, min_size=1, max_size=5), st.data())
def test_reshapes_and_transposes_change_places(shape: Sequence[int], data: Any) -> None:
    perm = tuple(data.draw(st.permutations(range(len(shape)))))
    x = np.arange(int(np.prod(shape))).reshape(shape)
    target = draw_reshape(data, permuted(shape, perm))
    found = reshape_then_transpose(shape, perm, target)
    if found is not None:
        inner, moved = found
        np.testing.assert_array_equal(
            x.transpose(perm).reshape(target), x.reshape(inner).transpose(moved)
        )
    split = split_at_reshape(shape, perm, target)
    assert split is not None  # the reshapes drawn keep groups
    first, inner, moved = split
    np.testing.assert_array_equal(
        x.transpose(perm).reshape(target), x.transpose(first).reshape(inner).transpose(moved)
    )
    target = draw_reshape(data, shape)
    perm = tuple(data.draw(st.permutations(range(len(target)))))
    found = transpose_then_reshape(shape, target, perm)
    if found is not None:
        first, result = found
        np.testing.assert_array_equal(
            x.reshape(target).transpose(perm), x.transpose(first).reshape(result)
        )


def draw_reshape(data: Any, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape of as many elements: neighbours joined or axes split, with lengths of 1 put in."""
    target: list[int] = []
    for n in shape:
        if target and data.draw(st.booleans()):
            target[-1] *= n
        elif n % 2 == 0 and data.draw(st.booleans()):
            target += [2, n // 2]
        else:
            target.append(n)
        if data.draw(st.integers(0, 4)) == 0:
            target.append(1)
    return tuple(target)


def test_groups_that_a_transpose_tears_apart_are_refused() -> None:
    assert reshape_then_transpose((2, 3, 4), (0, 2, 1), (2, 12)) is None
    assert reshape_then_transpose((2, 3, 4), (2, 0, 1), (4, 6)) == ((6, 4), (1, 0))
    assert transpose_then_reshape((2, 12), (2, 3, 4), (0, 2, 1)) is None
    assert transpose_then_reshape((6, 4), (2, 3, 4), (2, 0, 1)) == ((1, 0), (4, 2, 3))


@given(st.permutations(range(5)), st.permutations(range(5)))
def test_permutations_compose_as_transposes_do(first: list, then: list) -> None:
    x = np.arange(120).reshape(2, 3, 4, 5, 1)
    np.testing.assert_array_equal(
        x.transpose(first).transpose(then), x.transpose(compose(first, then))
    )
    assert compose(first, inverse(first)) == (0, 1, 2, 3, 4)


def test_a_transpose_behind_a_pad_is_raised() -> None:
    b = GraphBuilder()
    padded = b.pad(b.input((1, 3, 6, 5)), (0, 0, 1, 0), (0, 0, 2, 1))
    graph = b.build(b.transpose(padded, NCHW_TO_NHWC))
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    moved = transposed_bytes(graph)
    assert raise_transposes(graph)
    check_graph(graph)
    assert operators(graph) == ["transpose", "pad"]
    assert transposed_bytes(graph) < moved
    assert_same_meaning(expected, run(graph, inputs))


def test_more_transposes_than_before_are_undone() -> None:
    """One transpose, read by two chains that end in what nothing passes."""
    b = GraphBuilder()
    x = b.transpose(b.input((1, 6, 5, 4)), NHWC_TO_NCHW)
    ends = [
        b.reshape(b.node(op, [x], x.shape, quantization(0.1, 0)), (24, 5))
        for op in ("relu", "tanh", "sigmoid")
    ]
    graph = b.build(*ends)
    before = transposed_bytes(graph)
    run_passes(graph)
    assert transposed_bytes(graph) <= before
