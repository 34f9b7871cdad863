"""Every operator with an INT8 kernel, quantised from float32: as near as its steps allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Tensor
from edgeinfer.convert.lower.functions import UNARY
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.quantize.prepare_graph import layer_name, prepare
from tests.convert.float_networks import numbers, outputs, sqnr
from tests.convert.graphs import GraphBuilder

SHAPE = (1, 6, 5, 4)
SAMPLES = numbers(0, 64, *SHAPE)
WINDOW: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}
POOL: dict[str, Any] = {"kernel": (2, 2), "strides": (2, 1), "pads": (0, 0, 0, 0)}

Make = Callable[[GraphBuilder, Tensor], Tensor]


def node(op: str, shape: Sequence[int] = SHAPE, *constants: np.ndarray, **attrs: Any) -> Make:
    """An operator of the input and constants."""

    def make(b: GraphBuilder, x: Tensor) -> Tensor:
        return b.node(op, [x, *map(b.constant, constants)], shape, None, **attrs)

    return make


def pair(op: str, **attrs: Any) -> Make:
    """An operator of two activations with ranges of their own."""

    def make(b: GraphBuilder, x: Tensor) -> Tensor:
        wide = b.node("mul", [x, b.constant(np.array([3.0], np.float32))], SHAPE, None)
        positive = b.node("abs", [x], SHAPE, None)
        return b.node(op, [wide, positive], SHAPE, None, **attrs)

    return make


def concat(b: GraphBuilder, x: Tensor) -> Tensor:
    """Operands far apart, one of them read by another node too."""
    wide = b.node("mul", [x, b.constant(np.array([20.0], np.float32))], SHAPE, None)
    small = b.node("tanh", [x], SHAPE, None)
    joined = b.node("concat", [wide, small, x], (1, 6, 5, 12), None, axis=3)
    pooled = b.node("mean", [joined], (1, 12), None, axes=(1, 2), keep_dims=False)
    other = b.node("mean", [small], (1, 4), None, axes=(1, 2), keep_dims=False)
    return b.node("concat", [pooled, other], (1, 16), None, axis=1)


def matmul(b: GraphBuilder, x: Tensor) -> Tensor:
    """Scores as attention has them, divided by a constant."""
    a = b.reshape(x, (1, 30, 4))
    scores = b.node("batch_matmul", [a, a], (1, 30, 30), None, transpose_a=False, transpose_b=True)
    scaled = b.node("div", [scores, b.constant(np.array(2.0, np.float32))], (1, 30, 30), None)
    return b.node("softmax", [scaled], (1, 30, 30), None, axis=2, beta=1.0)


def layer_norm(b: GraphBuilder, x: Tensor) -> Tensor:
    """Float32 between two convolutions."""
    y = node("conv2d", SHAPE, numbers(1, 4, 3, 3, 4), numbers(2, 4), groups=1, **WINDOW)(b, x)
    y = b.node("layer_norm", [y, None, None], SHAPE, None, axis=1, epsilon=1e-5)
    return node("conv2d", SHAPE, numbers(3, 4, 1, 1, 4), groups=1, **{**WINDOW, "pads": (0,) * 4})(
        b, y
    )


OPERATORS: dict[str, Make] = {
    "conv2d": node(
        "conv2d", (1, 6, 5, 8), numbers(1, 8, 3, 3, 4), numbers(2, 8), groups=1, **WINDOW
    ),
    "conv2d grouped": node(
        "conv2d", (1, 6, 5, 8), numbers(1, 8, 3, 3, 2), groups=2, activation="relu6", **WINDOW
    ),
    "depthwise_conv2d": node(
        "depthwise_conv2d", (1, 6, 5, 8), numbers(1, 3, 3, 8), numbers(2, 8), **WINDOW
    ),
    "transpose_conv2d": node(
        "transpose_conv2d", (1, 6, 5, 3), numbers(1, 3, 3, 3, 4), numbers(2, 3), groups=1, **WINDOW
    ),
    "fully_connected": node(
        "fully_connected", (1, 6, 5, 7), numbers(1, 7, 4), numbers(2, 7), activation="relu"
    ),
    "add constant": node("add", SHAPE, numbers(1, 4)),
    "mul constant": node("mul", SHAPE, numbers(1, 1, 6, 1, 4)),
    "add": pair("add"),
    "sub": pair("sub", activation="relu"),
    "mul": pair("mul"),
    "maximum": pair("maximum"),
    "minimum": pair("minimum"),
    "maximum of a constant": node("maximum", SHAPE, numbers(1, 4)),
    "prelu": node("prelu", SHAPE, numbers(1, 4)),
    "prelu of one slope": node("prelu", SHAPE, np.array([0.2], np.float32)),
    "avg_pool2d": node("avg_pool2d", (1, 3, 4, 4), count_include_pad=False, **POOL),
    "max_pool2d": node("max_pool2d", (1, 3, 4, 4), dilations=(1, 1), **POOL),
    "mean": node("mean", (1, 1, 1, 4), axes=(1, 2), keep_dims=True),
    "sum": node("sum", (1, 6, 4), axes=(2,), keep_dims=False),
    "reduce_max": node("reduce_max", (1, 6, 4), axes=(2,), keep_dims=False),
    "reduce_min": node("reduce_min", (1, 6, 4), axes=(2,), keep_dims=False),
    "pad": node(
        "pad", (1, 8, 5, 4), before=(0, 1, 0, 0), after=(0, 1, 0, 0), mode="constant", value=0.7
    ),
    "pad far away": node(
        "pad", (1, 8, 5, 4), before=(0, 1, 0, 0), after=(0, 1, 0, 0), mode="constant", value=0.0
    ),
    "transpose": node("transpose", (1, 4, 5, 6), perm=(0, 3, 2, 1)),
    "reshape": node("reshape", (1, 120)),
    "slice": node("slice", (1, 3, 5, 2), begin=(0, 1, 0, 1), strides=(1, 2, 1, 2)),
    "resize nearest": node(
        "resize",
        (1, 12, 10, 4),
        mode="nearest",
        coordinates="asymmetric",
        rounding="floor",
        scales=None,
    ),
    "resize linear": node(
        "resize",
        (1, 12, 10, 4),
        mode="linear",
        coordinates="half_pixel",
        rounding=None,
        scales=None,
    ),
    "gather": node("gather", (1, 2, 5, 4), np.array([4, 1], np.int64), axis=1),
    "softmax": node("softmax", SHAPE, axis=3, beta=1.0),
    "concat": concat,
    "matmul": matmul,
    "layer_norm": layer_norm,
}
STEPS = {"conv2d grouped": 10}
"""A clamp makes the steps of the result finer than what the sums in front of it are good for."""
FUNCTIONS: dict[str, dict[str, Any]] = {
    **{op: {} for op in sorted(UNARY)},
    "clip": {"min": -1.0, "max": 1.5},
    "leaky_relu": {"alpha": 0.1},
    "elu": {"alpha": 1.0},
    "gelu": {"approximate": False},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
}
POSITIVE = ("log", "sqrt", "rsqrt")


def graph_of(make: Make, *, ends_in_integers: bool) -> Graph:
    b = GraphBuilder()
    y = make(b, b.input(SHAPE, None))
    if ends_in_integers:  # a table or softmax would write float32 otherwise
        y = b.node("mul", [y, b.constant(np.array([1.0], np.float32))], y.shape, None)
    return b.build(y)


def check(make: Make, samples: np.ndarray, steps: float, **options: Any) -> None:
    """Outputs within a number of int8 steps of the float model's, and INT8 throughout."""
    for ends_in_integers in (False, True):
        expected = outputs(graph_of(make, ends_in_integers=ends_in_integers), samples)
        graph = graph_of(make, ends_in_integers=ends_in_integers)
        converted = convert(
            graph, calibration=samples, method="minmax", held_out=0.0, correct_bias=False, **options
        )
        found = outputs(converted.data, samples)
        step = (max(expected.max(), 0) - min(expected.min(), 0)) / 255
        assert np.abs(found - expected).max() <= steps * step
        assert converted.quantized is not None
        floats = {n.op for n in converted.graph.nodes if n.float_reason}
        assert floats == ({"layer_norm"} if make is layer_norm else set())
        assert len(converted.quantized.result.float_layers) == len(floats)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name: str) -> None:
    """Inputs, weights and results each round once: a few steps of the result."""
    check(OPERATORS[name], SAMPLES, STEPS.get(name, 6))


@pytest.mark.parametrize("op", FUNCTIONS)
def test_function(op: str) -> None:
    samples = np.abs(SAMPLES) + np.float32(0.5) if op in POSITIVE else SAMPLES
    check(node(op, **FUNCTIONS[op]), samples, 5)


@pytest.mark.parametrize(
    "name",
    [n for n in OPERATORS if n.partition(" ")[0] not in ("prelu", "reduce_min", "layer_norm")],
)
def test_operator_on_int16(name: str) -> None:
    """Activations round 256 times finer; what is left is the rounding of weights."""
    make = OPERATORS[name]
    graph = graph_of(make, ends_in_integers=True)
    expected = outputs(graph_of(make, ends_in_integers=True), SAMPLES)
    copy = graph_of(make, ends_in_integers=True)
    run_passes(copy)
    prepare(copy)
    names = [layer_name(n) for n in copy.nodes]
    converted = convert(graph, calibration=SAMPLES, method="minmax", held_out=0.0, int16=names)
    assert {n.output.dtype for n in converted.graph.nodes} <= {"int16", "float32", "int64"}
    found = outputs(converted.data, SAMPLES)
    step = (max(expected.max(), 0) - min(expected.min(), 0)) / 255
    assert np.abs(found - expected).max() <= STEPS.get(name, 6) / 2 * step


def attention(mask: bool) -> Make:
    """Softmax of scores with a mask of -1e9 added, by a constant or by where; then a product."""

    def make(b: GraphBuilder, x: Tensor) -> Tensor:
        a = b.reshape(x, (1, 30, 4))
        scores = b.node(
            "batch_matmul", [a, a], (1, 30, 30), None, transpose_a=False, transpose_b=True
        )
        low = np.triu(np.ones((30, 30), bool), 1)
        if mask:
            added = b.constant(np.where(low, np.float32(-1e9), np.float32(0)).astype(np.float32))
            scores = b.node("add", [scores, added], (1, 30, 30), None)
        else:
            far = b.constant(np.array(-3e38, np.float32))
            scores = b.node("where", [b.constant(low), far, scores], (1, 30, 30), None)
        scores = b.reshape(scores, (1, 1, 30, 30))
        weights = b.node("softmax", [scores], (1, 1, 30, 30), None, axis=3, beta=1.0)
        weights = b.reshape(weights, (1, 30, 30))
        return b.node(
            "batch_matmul", [weights, a], (1, 30, 4), None, transpose_a=False, transpose_b=False
        )

    return make


@pytest.mark.parametrize("mask", [False, True])
def test_a_mask_does_not_coarsen_what_it_masks(mask: bool) -> None:
    expected = outputs(graph_of(attention(mask), ends_in_integers=False), SAMPLES)
    graph = graph_of(attention(mask), ends_in_integers=False)
    converted = convert(graph, calibration=SAMPLES)
    assert converted.quantized is not None
    kept = {n.op for n in converted.graph.nodes if n.float_reason}
    assert kept == {"add" if mask else "where", "reshape", "softmax"}
    assert sqnr(expected, outputs(converted.data, SAMPLES)) > 30
