"""What the runtime cannot run is refused, everything at once, with a reason and advice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.convert import check, convert
from edgeinfer.convert.graph import Graph, Problem, Quantization, Tensor
from edgeinfer.convert.lower import lower_graph, plain
from edgeinfer.convert.lower.lower_graph import HANDLERS, lower
from edgeinfer.convert.lower.lowering import Lowering, Refused
from edgeinfer.errors import ConversionError
from tests.convert.graphs import GraphBuilder, Q, quantization

COARSE = quantization(0.4, -20)


def problem(graph: Graph) -> Problem:
    """The one problem."""
    (found,) = lower(graph).problems
    assert found.node.startswith("the ")
    return found


def fully_connected(b: GraphBuilder, w: Tensor, bias: Tensor | None = None, **node: Any) -> Tensor:
    n, k = w.shape
    return b.node("fully_connected", [b.input((2, k)), w, bias], (2, n), **{"q": COARSE, **node})


def test_all_problems_are_listed_at_once() -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    first = b.node("mystery", [x], (2, 3))
    second = b.node("lrn", [first], (2, 3), None)
    third = b.node("argmax", [second], (2,), None, "int16", axis=1, keep_dims=False)
    graph = b.build(third)
    graph.problems.append(Problem("earlier", "Loop", "loops are not available"))
    problems = check(graph)
    assert [p.operator for p in problems] == ["Loop", "mystery", "lrn", "argmax"]
    assert problems[1].reason == "this operator is not available in this version"
    assert problems[2].reason == "this operator is not available in this version"
    with pytest.raises(ConversionError) as caught:
        convert(graph)
    assert len(caught.value.problems) == 4
    for found in caught.value.problems:
        assert str(found) in str(caught.value)


def test_a_node_that_the_frontend_gave_up_is_told_once() -> None:
    b = GraphBuilder()
    y = b.node("unsupported", [b.input((2, 3))], (2, 3))
    graph = b.build(y)
    graph.problems.append(Problem("it", "If", "branches are not available"))
    assert len(check(graph)) == 1


def test_a_float_operator_without_a_kernel_is_refused_at_every_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lower_graph, "FLOAT_HANDLERS", {})
    b = GraphBuilder()
    x = b.input((2, 3), None)
    for op in ("tanh", "mystery", "tanh"):
        x = b.node(op, [x], (2, 3), None)
    reasons = [found.reason for found in check(b.build(x))]
    assert ["float32" in reason for reason in reasons] == [True, False, True]
    assert all("not available in" in reason for reason in reasons)


def test_a_model_that_only_moves_floats_runs() -> None:
    b = GraphBuilder()
    assert check(b.build(b.transpose(b.input((2, 3), None), (1, 0)))) == []


def test_arithmetic_on_plain_integers_is_refused() -> None:
    b = GraphBuilder()
    x = b.input((2, 3), None, "int32")
    b.node("relu", [b.input((2, 3))], (2, 3))
    found = problem(b.build(b.node("add", [x, x], (2, 3), COARSE)))
    assert "int32" in found.reason


@pytest.mark.parametrize(
    ("weights", "reason", "advice"),
    [
        (Tensor("w", (4, 3), "int8", Q), "not constant", "stored in the model"),
        (
            Tensor("w", (4, 3), "float32", None, np.ones((4, 3), np.float32)),
            "float32 and not quantised",
            "symmetrically",
        ),
        (
            Tensor("w", (4, 3), "int8", quantization(0.1, 7), np.ones((4, 3), np.int8)),
            "zero point other than 0",
            "WeightSymmetric",
        ),
        (
            Tensor(
                "w",
                (4, 3),
                "int8",
                Quantization(np.ones(3, np.float32), np.zeros(3, np.int64), 1),
                np.ones((4, 3), np.int8),
            ),
            "along axis 1",
            "per output channel",
        ),
        (
            Tensor("w", (4, 3), "int16", quantization(0.1, 0), np.ones((4, 3), np.int16)),
            "int16, must be int8",
            "",
        ),
    ],
)
def test_weights_of_another_kind_are_refused(weights: Tensor, reason: str, advice: str) -> None:
    b = GraphBuilder()
    if not weights.is_constant:
        b.graph.inputs.append(weights)
    found = problem(b.build(fully_connected(b, weights)))
    assert reason in found.reason and advice in found.advice


@pytest.mark.parametrize(
    ("bias", "reason"),
    [
        (Tensor("bias", (4,), "int8", Q, np.ones(4, np.int8)), "int8, must be int32"),
        (Tensor("bias", (3,), "int32", None, np.ones(3, np.int32)), "3 values for 4 channels"),
        (Tensor("bias", (4,), "int32", Q, np.ones(4, np.int32)), "zero point other than 0"),
        (Tensor("bias", (4,), "float32", None, np.full(4, 1e30, np.float32)), "too large"),
    ],
)
def test_a_bias_of_another_kind_is_refused(bias: Tensor, reason: str) -> None:
    b = GraphBuilder()
    assert reason in problem(b.build(fully_connected(b, b.weights(0, (4, 3)), bias))).reason


def test_a_computed_bias_is_refused() -> None:
    b = GraphBuilder()
    y = fully_connected(b, b.weights(0, (4, 3)), b.input((4,), None, "int32"))
    assert "not constant" in problem(b.build(y)).reason


@pytest.mark.parametrize(
    "op", ["fully_connected", "conv2d", "depthwise_conv2d", "transpose_conv2d"]
)
@pytest.mark.parametrize("short", [0, 1])
def test_sums_that_int32_cannot_hold_are_refused(op: str, short: int) -> None:
    """The largest sum is 255 * 127 * K + bias at zero point -128; one more would wrap."""
    k = 32
    largest = 255 * 127 * k
    b = GraphBuilder()
    x = b.input((1, 1, 1, k) if op != "depthwise_conv2d" else (1, 1, k, 1), quantization(1, -128))
    geometry: Any = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
    geometry |= {} if op == "depthwise_conv2d" else {"groups": 1}
    shape = {
        "fully_connected": (1, k),
        "depthwise_conv2d": (1, k, 1),
        "conv2d": (1, 1, 1, k),
        "transpose_conv2d": (1, 1, 1, k),
    }[op]
    w = b.constant(np.full(shape, 127, np.int8), quantization(1, 0))
    bias = b.constant(np.array([2**31 - 1 - largest + 1 - short], np.int32))
    attrs = {} if op == "fully_connected" else geometry
    y = b.node(op, [x, w, bias], (1, 1, 1, 1), quantization(1e6, 0), **attrs)
    graph = b.build(y)
    if short:
        assert lower(graph).problems == []
    else:
        assert "int32 cannot hold" in problem(graph).reason


def test_int16_sums_have_64_bits() -> None:
    b = GraphBuilder()
    x = b.input((1, 4000), quantization(1, 0), "int16")
    w = b.constant(np.full((1, 4000), -128, np.int8), quantization(1, 0))
    y = b.node("fully_connected", [x, w, None], (1, 1), quantization(1e6, 0), "int16")
    assert lower(b.build(y)).problems == []


def test_a_matrix_product_that_int32_cannot_hold_is_refused() -> None:
    b = GraphBuilder()
    q = quantization(1, -128)
    for k, refused in ((2**31 // 255**2, False), (2**31 // 255**2 + 1, True)):
        b = GraphBuilder()
        attrs = {"transpose_a": False, "transpose_b": False}
        operands = [b.input((1, k), q), b.input((k, 1), q)]
        y = b.node("batch_matmul", operands, (1, 1), quantization(1e6, 0), **attrs)  # type: ignore[arg-type]
        assert bool(lower(b.build(y)).problems) == refused


def test_asymmetric_int16_is_refused() -> None:
    b = GraphBuilder()
    x = b.input((2, 3), quantization(0.1, 5), "int16")
    found = problem(b.build(b.node("mul", [x, x], (2, 3), quantization(1, 0), "int16")))
    assert "zero point 5" in found.reason and "symmetrically" in found.advice


@pytest.mark.parametrize("op", ["mul", "fully_connected", "mean", "requantize", "avg_pool2d"])
def test_multipliers_that_are_not_finite_are_refused(op: str) -> None:
    b = GraphBuilder()
    dtype = "int16" if op == "requantize" else "int8"
    x = b.input((1, 4, 4, 3), quantization(1e30, 0), dtype)
    attrs: Any = {
        "mean": {"axes": (0,), "keep_dims": True},
        "avg_pool2d": {
            "kernel": (1, 1),
            "strides": (1, 1),
            "pads": (0, 0, 0, 0),
            "count_include_pad": False,
        },
    }.get(op, {})
    second = {"mul": [x], "fully_connected": [b.weights(0, (3, 3))]}.get(op, [])
    y = b.node(op, [x, *second], x.shape, quantization(1e-38, 0), dtype, **attrs)
    assert "not finite" in problem(b.build(y)).reason


def test_a_sum_with_a_much_coarser_input_is_refused() -> None:
    b = GraphBuilder()
    operands = [b.input((2, 3), quantization(2.0**21, 0)), b.input((2, 3))]
    found = problem(b.build(b.node("add", operands, (2, 3), quantization(1, 0))))
    assert "too coarse" in found.reason


@pytest.mark.parametrize(
    ("op", "x", "y", "reason"),
    [
        ("tanh", (Q, "int32"), (Q, "int8"), "tanh of int32 is not available"),
        ("tanh", (Q, "int8"), (quantization(1, 0), "int64"), "is int64, must be one of"),
        ("dequantize", (Q, "int8"), (Q, "int8"), "must be float32"),
        ("requantize", (Q, "int8"), (Q, "int64"), "output"),
        ("relu", (quantization(0.1, 300), "int8"), (Q, "int8"), "300"),
        ("reshape", (Q, "int8"), (COARSE, "int8"), "stored differently"),
    ],
)
def test_types_that_an_operator_does_not_take_are_refused(
    op: str, x: Any, y: Any, reason: str
) -> None:
    b = GraphBuilder()
    found = problem(b.build(b.node(op, [b.input((4,), *x)], (4,), *y)))
    assert reason in found.reason


def test_activations_quantised_per_channel_are_refused() -> None:
    b = GraphBuilder()
    q = Quantization(np.ones(3, np.float32), np.zeros(3, np.int64), 1)
    found = problem(b.build(b.node("relu", [b.input((2, 3), q)], (2, 3))))
    assert "per channel" in found.reason and "one scale per tensor" in found.advice


def test_ranks_beyond_six_are_refused() -> None:
    b = GraphBuilder()
    found = problem(b.build(b.reshape(b.input((64,)), (2, 2, 2, 2, 2, 2, 1))))
    assert "rank 7" in found.reason


def test_an_index_outside_of_its_axis_is_refused() -> None:
    b = GraphBuilder()
    indices = b.constant(np.array([0, 5], np.int64))
    found = problem(b.build(b.node("gather", [b.input((5, 2)), indices], (2, 2), axis=0)))
    assert "index 5 is outside axis 0 of 5" in found.reason


def test_a_pool_of_nothing_but_padding_is_refused() -> None:
    b = GraphBuilder()
    y = b.node(
        "max_pool2d",
        [b.input((1, 4, 4, 1))],
        (1, 6, 4, 1),
        kernel=(1, 1),
        strides=(1, 1),
        dilations=(1, 1),
        pads=(1, 0, 1, 0),
    )
    assert "wholly in the padding" in problem(b.build(y)).reason


def test_resizing_more_than_the_image_is_refused() -> None:
    b = GraphBuilder()
    attrs = {"mode": "nearest", "coordinates": "asymmetric", "rounding": "floor", "scales": None}
    y = b.node("resize", [b.input((1, 4, 4, 2))], (1, 4, 4, 4), **attrs)  # type: ignore[arg-type]
    assert "more than height and width" in problem(b.build(y)).reason


@pytest.mark.parametrize("op", ["softmax", "concat", "maximum", "reduce_max", "prelu"])
def test_an_activation_where_none_can_be_applied_is_refused(op: str) -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    attrs: Any = {
        "softmax": {"axis": 1, "beta": 1.0},
        "concat": {"axis": 1},
        "reduce_max": {"axes": (0,), "keep_dims": True},
    }.get(op, {})
    second = {"concat": [x], "maximum": [x], "prelu": [b.weights(0, (1, 3))]}.get(op, [])
    shape = {"concat": (2, 6), "reduce_max": (1, 3)}.get(op, (2, 3))
    y = b.node(op, [x, *second], shape, activation="relu", **attrs)
    assert "fused activation is not available" in problem(b.build(y)).reason


def test_float_operands_are_refused_by_every_operator_that_computes() -> None:
    """No handler may take float32 for integers."""
    moves = {"reshape", "transpose", "slice", "pad", "concat", "gather", "argmax", "argmin"}
    moves |= {"quantize", "pointwise"}  # float32 by nature; made by a pass that looks
    moves |= {*plain.HANDLERS, "custom"}  # of any numbers; of what is declared
    for op in sorted(set(HANDLERS) - moves):
        b = GraphBuilder()
        x = b.input((1, 4, 4, 1), None)
        w = b.constant(np.ones((1, 1, 1, 1), np.float32))
        attrs: Any = {
            "strides": (1, 1),
            "dilations": (1, 1),
            "pads": (0, 0, 0, 0),
            "kernel": (1, 1),
            "count_include_pad": False,
            "groups": 1,
            "axes": (3,),
            "axis": 3,
            "keep_dims": True,
            "alpha": 1.0,
            "beta": 1.0,
            "min": 0.0,
            "max": 1.0,
            "approximate": True,
            "mode": "linear",
            "coordinates": "half_pixel",
            "scales": None,
        }
        y = b.node(op, [x, w], (1, 4, 4, 1), None, **attrs)
        (node,) = b.build(y).nodes
        with pytest.raises(Refused, match="float32"):
            HANDLERS[op](node, Lowering(b.graph))
