"""Rounded weights, corrected biases, and a bound that quantised layers cannot leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.quantize.correct_bias import (
    CORRECTED,
    corrected,
    mean_product,
    observed_means,
)
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.observe import observe_extremes
from edgeinfer.convert.quantize.prepare_graph import prepare
from edgeinfer.convert.quantize.quantize_graph import QuantizedGraph, quantize_graph
from edgeinfer.convert.quantize.quantize_weights import (
    MAX_BIAS,
    choose_weights,
    quantized_bias,
    quantized_weights,
    weight_scales,
)
from edgeinfer.convert.quantize.ranges import Range
from edgeinfer.convert.quantize.run_graph import GraphRunner
from tests.convert.float_networks import SAMPLES, numbers, outputs, small_network
from tests.convert.graphs import GraphBuilder
from tests.oracle.graph import run_graph

MATRIX = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 9)),
    elements=st.floats(-100, 100, width=32),
)


@given(MATRIX, st.sampled_from([0, 1]))
def test_every_weight_is_within_half_a_step(weights: np.ndarray, axis: int) -> None:
    scales = weight_scales(weights, axis)
    stored = quantized_weights(weights, scales, axis)
    assert stored.dtype == np.int8 and np.abs(stored.astype(int)).max() <= 127
    shape = [-1 if i == axis else 1 for i in range(2)]
    steps = scales.astype(np.float64).reshape(shape)
    assert np.all(np.abs(stored * steps - weights) <= steps * 0.5001)
    largest = np.abs(weights).max(axis=1 - axis)
    assert np.all(np.abs(stored.astype(int)).max(axis=1 - axis)[largest > 1e-10] == 127)


@given(st.floats(-1e6, 1e6, width=32), st.floats(0, 2.0**-20, width=32), st.floats(1e-6, 10))
def test_a_large_bias_beside_tiny_weights_fits_the_accumulator(
    bias: float, weight: float, scale: float
) -> None:
    w, b = np.full((1, 4), weight, np.float32), np.array([bias], np.float32)
    chosen = choose_weights(w, b, scale, 0)
    (stored,) = quantized_bias(b, chosen.scales, np.float32(scale))
    assert abs(int(stored)) <= MAX_BIAS * 1.001
    unit = float(np.float32(scale) * chosen.scales[0])
    assert abs(stored * unit - bias) <= 0.51 * unit + 1e-6 * abs(bias)


WINDOWS = st.fixed_dictionaries(
    {
        "strides": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "dilations": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "pads": st.tuples(*[st.integers(0, 2)] * 4),
    }
)


def windowed(op: str, window: dict[str, Any], groups: int, seed: int) -> Graph:
    """One convolution of x [1, 7, 6, 4] with a kernel of 2x3."""
    b = GraphBuilder()
    x = b.input((1, 7, 6, 4), None)
    w = numbers(seed, 2, 3, 8) if op == "depthwise_conv2d" else numbers(seed, 6, 2, 3, 4 // groups)
    extent = [
        (n + window["pads"][i] + window["pads"][i + 2] - (k - 1) * window["dilations"][i] - 1)
        // window["strides"][i] + 1
        for i, (n, k) in enumerate([(7, 2), (6, 3)])
    ]  # fmt: skip
    attrs = window if op == "depthwise_conv2d" else {**window, "groups": groups}
    shape = (1, *extent, 8 if op == "depthwise_conv2d" else 6)
    return b.build(b.node(op, [x, b.constant(w)], shape, None, **attrs))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["conv2d", "depthwise_conv2d"]),
    WINDOWS,
    st.sampled_from([1, 2]),
    st.integers(0, 99),
)
def test_the_mean_of_a_product_is_the_product_of_the_mean(
    op: str, window: dict[str, Any], groups: int, seed: int
) -> None:
    """Over all positions, pads and strides at the borders included."""
    graph = windowed(op, window, groups, seed)
    x = numbers(seed + 1, 5, 7, 6, 4)
    expected = np.mean([run_graph(graph, sample[None])[0] for sample in x], axis=(0, 1, 2, 3))
    (node,) = graph.nodes
    weights = np.asarray(node.input(1).data, np.float64)
    found = mean_product(node, weights, x.astype(np.float64).mean(axis=0, keepdims=True))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_corrected_layers_have_the_mean_of_the_float_ones(op: str) -> None:
    window = {"strides": (2, 1), "dilations": (1, 1), "pads": (1, 0, 0, 1)}
    graph = windowed(op, window, 1, 0)
    (node,) = graph.nodes
    x = np.abs(numbers(3, 20, 1, 7, 6, 4))
    w = np.asarray(node.input(1).data)
    axis = 2 if op == "depthwise_conv2d" else 0
    chosen = choose_weights(w * 1, None, 1.0, axis)
    coarse = type(chosen)((chosen.values // 32 * 32).astype(np.int8), chosen.scales)
    means = {node.input(0).name: x.astype(np.float64).mean(axis=0)}
    fixed = corrected(graph, {node.output.name: coarse}, means)
    shape = [-1 if i == axis else 1 for i in range(w.ndim)]
    rounded = coarse.values * coarse.scales.reshape(shape)
    plain = windowed(op, window, 1, 0)
    plain.nodes[0].inputs = [plain.inputs[0], _constant(rounded), fixed.nodes[0].input(2)]
    wanted = np.mean([run_graph(graph, v)[0] for v in x], axis=(0, 1, 2, 3))
    found = np.mean([run_graph(plain, v)[0] for v in x], axis=(0, 1, 2, 3))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    plain.nodes[0].inputs = plain.nodes[0].inputs[:2]
    off = np.mean([run_graph(plain, v)[0] for v in x], axis=(0, 1, 2, 3))
    assert np.abs(off - wanted).max() > 0.1


def _constant(data: np.ndarray) -> Any:
    return GraphBuilder().constant(data.astype(np.float32))


@settings(deadline=None, max_examples=40)
@given(
    arrays.arrays(np.float32, (3, 8), elements=st.floats(-50, 50, width=32)),
    arrays.arrays(np.float32, 3, elements=st.floats(-50, 50, width=32)),
    st.integers(0, 1000),
    st.floats(0.01, 100),
)
def test_a_quantised_product_stays_within_its_bound(
    weights: np.ndarray, bias: np.ndarray, seed: int, gain: float
) -> None:
    """|y' - y| <= sum |w| s_x + sum |x'| s_w / 2 + s_x s_w / 2 + s_y on what calibration saw.

    A step of the input where its zero point and the value both round, half a step of each weight,
    half a unit of the bias, a step of the output.
    """
    samples = (numbers(seed, 32, 1, 8) * np.float32(gain)).astype(np.float32)

    def graph() -> Graph:
        b = GraphBuilder()
        operands = [b.input((1, 8), None), b.constant(weights), b.constant(bias)]
        return b.build(b.node("fully_connected", operands, (1, 3), None))

    converted = convert(
        graph(), calibration=samples, method="minmax", held_out=0.0, equalize=False,
        correct_bias=False, allow_thin_calibration=True,
    )  # fmt: skip
    assert converted.quantized is not None
    (node,) = [n for n in converted.graph.nodes if n.op == "fully_connected"]
    s_x, s_w, s_y = (
        tensor.quantization.scale.astype(np.float64)
        for tensor in (node.input(0), node.input(1), node.output)
        if tensor.quantization is not None
    )
    exact = samples[:, 0].astype(np.float64) @ weights.astype(np.float64).T + bias
    found = outputs(converted.data, samples)
    reach = np.abs(samples[:, 0]).sum(axis=1, keepdims=True) + 8 * s_x
    bound = np.abs(weights.astype(np.float64)).sum(axis=1) * s_x + reach * s_w / 2
    bound = bound + s_x * s_w / 2 + s_y
    assert np.all(np.abs(found - exact) <= bound * 1.001 + 1e-5 * np.abs(exact))


def test_a_second_correction_takes_in_what_earlier_layers_left() -> None:
    """The means of a network's layers are nearer to the float ones with the network's own means."""
    graph = small_network()
    prepare(graph)
    feeds = [{graph.inputs[0].name: x} for x in np.abs(SAMPLES)]
    teacher = FloatModel(graph)
    names = [t.name for t in teacher.activations]
    inputs = {n.input(0).name for n in graph.nodes if n.op in CORRECTED}
    observed = observe_extremes(teacher.runner(names), feeds, inputs)
    # Ranges that saturate: the mean of what is stored is not that of the teacher.
    ranges = {k: Range.of(e.span[0] / 2, e.span[1] / 2) for k, e in observed.extremes.items()}
    last = graph.nodes[-1].output.name
    ranges[last] = Range.of(*observed.extremes[last].span)
    plain = quantize_graph(graph, ranges)
    once = quantize_graph(
        corrected(graph, plain.weights, observed.means), ranges, weights=plain.weights
    )
    seen = observed_means(once, feeds)
    twice = quantize_graph(
        corrected(graph, plain.weights, observed.means, seen), ranges, weights=plain.weights
    )
    wanted = np.mean([teacher.runner([last]).run(x)[last] for x in feeds], axis=0)
    errors = [
        float(np.abs(np.mean([real_output(result, x) for x in feeds], axis=0) - wanted).mean())
        for result in (plain, once, twice)
    ]
    assert errors[2] < 0.7 * errors[1]


def real_output(result: QuantizedGraph, feed: dict[str, np.ndarray]) -> np.ndarray:
    """The only output of a quantised graph with float32 at its ends."""
    (found,) = GraphRunner(result.graph).run(feed).values()
    return found
