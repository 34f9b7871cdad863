"""Equalisation keeps the function and gives channels that were scaled badly their bits back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.quantize.equalize import Equalization, equalize, scaled
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.observe import observe_extremes
from edgeinfer.convert.quantize.prepare_graph import prepare
from tests.convert.float_networks import (
    MobileNet,
    agreement,
    labelled_images,
    numbers,
    outputs,
    trained_mobilenet,
)
from tests.convert.graphs import GraphBuilder

PLAIN: dict[str, Any] = {"method": "minmax", "equalize": False, "correct_bias": False}


@pytest.mark.parametrize("seed", [0, 1])
def test_badly_scaled_channels_lose_min_max_and_not_the_default(seed: int) -> None:
    """Channels up to a factor of 1024 apart, whose scaling does not change the float result."""
    samples, labels = labelled_images(9, 500)
    calibration, _ = labelled_images(1, 128)
    expected = outputs(trained_mobilenet(seed, 5), samples)
    np.testing.assert_array_equal(expected, outputs(trained_mobilenet(seed, 0), samples))
    assert (expected.argmax(axis=1) == labels).mean() > 0.98
    plain = convert(trained_mobilenet(seed, 5), calibration=calibration, **PLAIN)
    assert agreement(expected, outputs(plain.data, samples)) < 0.5
    default = convert(trained_mobilenet(seed, 5), calibration=calibration)
    assert agreement(expected, outputs(default.data, samples)) >= 0.99


def equalized(graph: Graph, samples: np.ndarray) -> tuple[Graph, Equalization]:
    prepare(graph)
    model = FloatModel(graph)
    feeds = [{graph.inputs[0].name: x} for x in samples]
    observed = observe_extremes(model.runner([t.name for t in model.activations]), feeds)
    return graph, equalize(graph, observed.extremes)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_the_function_stays(activation: str) -> None:
    samples, _ = labelled_images(3, 8)
    graph, result = equalized(
        trained_mobilenet(0, 4 if activation == "relu" else 0, activation), samples
    )
    before, after = outputs(graph, samples), outputs(result.graph, samples)
    if activation == "relu":
        assert result.scales
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)


def test_what_is_scaled_is_the_tensor_divided() -> None:
    samples, _ = labelled_images(3, 4)
    graph, result = equalized(MobileNet(0, 4).build(), samples)
    names = list(result.scales)
    feed = {graph.inputs[0].name: samples[0]}
    before = FloatModel(graph).runner(names).run(feed)
    after = FloatModel(result.graph).runner(names).run(feed)
    assert len(names) > 8
    for name in names:
        largest = np.abs(before[name]).max()
        restored = after[name] * result.scales[name]
        np.testing.assert_allclose(restored, before[name], rtol=2e-3, atol=1e-4 * largest)
    observed = observe_extremes(FloatModel(graph).runner(names), [feed], names)
    seen = observe_extremes(FloatModel(result.graph).runner(names), [feed], names)
    for name in names:
        expected = scaled(observed, result.scales)
        largest = np.abs(seen.means[name]).max()
        for found, wanted in (
            (seen.extremes[name].high, expected.extremes[name].high),
            (seen.extremes[name].low, expected.extremes[name].low),
            (seen.means[name], expected.means[name]),
        ):
            np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-4 * largest)


def two_layers(activation: Any, gain: float, *, tap: bool = False) -> Graph:
    """Two products with badly scaled channels in between."""
    b = GraphBuilder()
    scales = np.float32(2.0) ** np.arange(-4, 4, dtype=np.float32)
    w = b.constant(numbers(1, 8, 6) * scales[:, None] * np.float32(gain))
    y = b.node("fully_connected", [b.input((1, 6), None), w], (1, 8), None, activation=activation)
    v = b.constant(numbers(2, 4, 8) / scales)
    z = b.node("fully_connected", [y, v], (1, 4), None)
    return b.build(z, y) if tap else b.build(z)


SAMPLES = numbers(7, 32, 1, 6)


def test_relu6_is_scaled_where_it_never_clamps() -> None:
    _, result = equalized(two_layers("relu6", 0.01), SAMPLES)
    assert result.scales and result.graph.nodes[0].activation == "relu"


@pytest.mark.parametrize(
    ("activation", "gain", "tap"),
    [
        ("relu6", 10.0, False),  # clamps
        (("clip", -1.0, 1.0), 0.01, False),  # from below too
        ("relu", 1.0, True),  # a graph output
    ],
)
def test_what_must_stay_stays(activation: Any, gain: float, tap: bool) -> None:
    _, result = equalized(two_layers(activation, gain, tap=tap), SAMPLES)
    assert not result.scales


def test_an_operator_that_is_not_homogeneous_stops_it() -> None:
    b = GraphBuilder()
    y = b.node(
        "fully_connected", [b.input((1, 6), None), b.constant(numbers(1, 8, 6))], (1, 8), None
    )
    y = b.node("tanh", [y], (1, 8), None)
    graph = b.build(b.node("fully_connected", [y, b.constant(numbers(2, 4, 8))], (1, 4), None))
    assert not equalized(graph, SAMPLES)[1].scales


def test_dead_channels_are_left_alone() -> None:
    graph = two_layers("relu", 1.0)
    w = graph.nodes[0].input(1).data
    assert w is not None
    w[3] = 0.0
    _, result = equalized(graph, SAMPLES)
    (scale,) = result.scales.values()
    assert scale[3] == 1.0 and np.all(np.isfinite(scale))
