"""Quantised graphs: every node at its precision, and results near the float model's."""

from __future__ import annotations

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Node
from edgeinfer.errors import ConversionError, InputError
from tests.convert.float_networks import SAMPLES, numbers, outputs, small_network, sqnr
from tests.convert.graphs import GraphBuilder, Q


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
        found = np.stack([model.run(x, quantize=True, dequantize=True)[0] for x in SAMPLES])
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


def test_a_layer_that_there_is_not_is_named() -> None:
    with pytest.raises(InputError, match=r"no layer that makes a tensor 'conv'; .*'conv2d_4'"):
        convert(small_network(), calibration=SAMPLES, keep_float=["conv"])
