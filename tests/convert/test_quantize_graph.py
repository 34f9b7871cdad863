"""Quantised graphs: every node at its precision, and results near the float model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Node
from edgeinfer.errors import ConversionError, InputError
from tests.convert.graphs import GraphBuilder, Q

WINDOW: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small_network() -> Graph:
    """Convolutions, a residual add, a pool, a product: x [1, 8, 8, 3] -> y [1, 5]."""
    b = GraphBuilder()
    x = b.input((1, 8, 8, 3), None)
    first = b.node(
        "conv2d", [x, b.constant(numbers(1, 16, 3, 3, 3) * 0.3), b.constant(numbers(2, 16))],
        (1, 8, 8, 16), None, activation="relu", groups=1, **WINDOW,
    )  # fmt: skip
    second = b.node(
        "depthwise_conv2d", [first, b.constant(numbers(3, 3, 3, 16)), b.constant(numbers(4, 16))],
        (1, 8, 8, 16), None, **WINDOW,
    )  # fmt: skip
    joined = b.node("add", [first, second], (1, 8, 8, 16), None, activation="relu")
    mean = b.node("mean", [joined], (1, 16), None, axes=(1, 2), keep_dims=False)
    w, bias = b.constant(numbers(5, 5, 16)), b.constant(numbers(6, 5))
    return b.build(b.node("fully_connected", [mean, w, bias], (1, 5), None))


def outputs(graph_or_data: Any, samples: np.ndarray) -> np.ndarray:
    data = graph_or_data if isinstance(graph_or_data, bytes) else convert(graph_or_data).data
    with edgeinfer.load(data) as model:
        return np.stack([model.run(x) for x in samples])


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    noise = float(((expected - found) ** 2).sum())
    return 10 * float(np.log10(float((expected**2).sum()) / max(noise, 1e-30)))


SAMPLES = numbers(0, 64, 1, 8, 8, 3)


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def node(graph: Graph, op: str) -> Node:
    (found,) = [n for n in graph.nodes if n.op == op]
    return found


def test_a_network_is_int8_from_end_to_end_and_near_the_float_one() -> None:
    expected = outputs(small_network(), SAMPLES)
    converted = convert(small_network(), calibration=SAMPLES)
    assert ops(converted.graph) == [
        "quantize", "conv2d", "depthwise_conv2d", "add", "mean", "fully_connected", "dequantize",
    ]  # fmt: skip
    assert converted.quantized is not None
    assert converted.quantized.result.float_layers == {}
    assert sqnr(expected, outputs(converted.data, SAMPLES)) > 30


def test_integer_inputs_and_outputs() -> None:
    converted = convert(small_network(), calibration=SAMPLES, io="int8")
    with edgeinfer.load(converted.data) as model:
        assert [t.dtype.name for t in (*model.inputs, *model.outputs)] == ["int8", "int8"]
        found = np.stack([model.run(x, quantize=True, dequantize=True) for x in SAMPLES])
    np.testing.assert_array_equal(
        found, outputs(convert(small_network(), calibration=SAMPLES).data, SAMPLES)
    )


@pytest.mark.parametrize("layer", range(5))
def test_any_layer_stays_float32_when_asked(layer: int) -> None:
    graph = small_network()
    name = graph.nodes[layer].output.name
    expected = outputs(small_network(), SAMPLES)
    converted = convert(graph, calibration=SAMPLES, keep_float={name: "because"})
    assert converted.quantized is not None
    assert converted.quantized.result.float_layers == {name: "because"}
    kept = [n for n in converted.graph.nodes if n.float_reason]
    assert [(n.output.name, n.output.dtype) for n in kept] == [(name, "float32")]
    assert sqnr(expected, outputs(converted.data, SAMPLES)) > 30


def test_all_layers_in_float32_give_the_float_model() -> None:
    graph = small_network()
    names = [n.output.name for n in graph.nodes]
    converted = convert(
        graph, calibration=SAMPLES, keep_float=names, equalize=False, correct_bias=False
    )
    np.testing.assert_array_equal(
        outputs(converted.data, SAMPLES), outputs(small_network(), SAMPLES)
    )


def test_int16_activations_are_nearer() -> None:
    graph = small_network()
    names = [n.output.name for n in graph.nodes]
    expected = outputs(small_network(), SAMPLES)
    eight = sqnr(expected, outputs(convert(small_network(), calibration=SAMPLES).data, SAMPLES))
    converted = convert(graph, calibration=SAMPLES, int16=names)
    assert {n.output.dtype for n in converted.graph.nodes} == {"int16", "float32"}
    assert sqnr(expected, outputs(converted.data, SAMPLES)) > eight + 3


def test_the_same_gives_the_same_bytes() -> None:
    first, second = (convert(small_network(), calibration=SAMPLES, seed=3) for _ in range(2))
    assert first.data == second.data


def test_a_quantised_model_is_refused() -> None:
    b = GraphBuilder()
    graph = b.build(b.node("relu", [b.input((1, 4), Q)], (1, 4)))
    with pytest.raises(ConversionError, match="quantised already"):
        convert(graph, calibration=numbers(0, 64, 4))


def test_quantising_without_samples_is_refused() -> None:
    with pytest.raises(InputError, match="calibration data"):
        convert(small_network(), quantize="int8")
    with pytest.raises(InputError, match="method: quantising needs"):
        convert(small_network(), method="minmax")
