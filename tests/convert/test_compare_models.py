"""Comparisons of models: what corresponds to what, and which layer is the first to go wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeinfer.convert import convert
from edgeinfer.convert.compare import Limits, compare
from edgeinfer.convert.compare.match_tensors import plain_name
from edgeinfer.convert.compare.observed_model import observe_model
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.quantize.channel_scales import decoded_scales, encoded_scales
from edgeinfer.errors import InputError, ModelReadError
from tests.convert.float_networks import SAMPLES, numbers, small_network
from tests.convert.graphs import GraphBuilder

FEW = SAMPLES[:8]
WEIGHTED = {0: "conv2d_4", 1: "depthwise_conv2d_7", 4: "fully_connected_12"}
"""Layers of `small_network` with weights, by index."""


def broken_network(index: int) -> Graph:
    """`small_network` whose layer has the signs of its weights turned."""
    graph = small_network()
    weights = graph.nodes[index].inputs[1]
    assert weights is not None and weights.data is not None
    weights.data = -weights.data
    return graph


@pytest.mark.parametrize("index", WEIGHTED)
def test_exactly_the_broken_layer_is_named(index: int) -> None:
    broken = convert(broken_network(index), calibration=SAMPLES).data
    found = compare(small_network(), broken, FEW)
    assert found.first_broken is not None
    assert found.first_broken.reference.name == WEIGHTED[index]
    before = found.pairs[: found.pairs.index(found.first_broken)]
    assert all(pair.agreement.sqnr > 25 for pair in before)
    assert "SQNR" in found.first_broken.broken


def test_a_quantised_file_is_near_its_float_model_in_every_layer() -> None:
    converted = convert(small_network(), calibration=SAMPLES)
    found = compare(small_network(), converted.data, FEW)
    assert [pair.reference.name for pair in found.pairs] == [
        node.output.name for node in small_network().nodes
    ]
    assert min(pair.agreement.sqnr for pair in found.pairs) > 30
    assert found.first_broken is None
    assert found.pairs[-1].is_output and found.pairs[-1].top_one == 1.0


def badly_scaled_network() -> Graph:
    """Two products, between which one channel is a thousand times as large as another."""
    factors = np.geomspace(0.03, 30, 16).astype(np.float32)
    b = GraphBuilder()
    x = b.input((1, 12), None)
    w, bias = b.constant(numbers(1, 16, 12) * factors[:, None]), b.constant(numbers(2, 16))
    between = b.node("fully_connected", [x, w, bias], (1, 16), None, activation="relu")
    w = b.constant(numbers(3, 5, 16) / factors)
    return b.build(b.node("fully_connected", [between, w], (1, 5), None))


def test_equalised_channels_are_compared_in_the_float_models_terms() -> None:
    samples = numbers(0, 64, 1, 12)
    converted = convert(badly_scaled_network(), calibration=samples)
    assert converted.quantized is not None
    between = badly_scaled_network().nodes[0].output.name
    assert list(converted.quantized.scales) == [between]
    found = compare(badly_scaled_network(), converted.data, samples)
    assert found.pairs[0].reference.name == between
    assert min(pair.agreement.sqnr for pair in found.pairs) > 30
    model = observe_model(converted.data)
    plain = replace(model, tensors=tuple(replace(t, channel_scales=None) for t in model.tensors))
    assert compare(badly_scaled_network(), plain, samples).pairs[0].agreement.sqnr < 10


@pytest.mark.parametrize("io", ["float32", "int8"])
def test_a_file_equals_itself(io: Any) -> None:
    data = convert(small_network(), calibration=SAMPLES, io=io).data
    found = compare(data, data, FEW, limits=Limits(max_error=0.0))
    assert found.unmatched == (0, 0)
    assert all(pair.agreement.sqnr == math.inf for pair in found.pairs)
    assert found.first_broken is None and found.largest_fall is None


def test_two_files_of_one_model_are_compared_tensor_by_tensor() -> None:
    eight = convert(small_network(), calibration=SAMPLES).data
    plain = convert(small_network()).data
    found = compare(plain, eight, FEW)
    assert found.unmatched[0] == 0
    assert {pair.judged.dtype for pair in found.pairs} == {"int8", "float32"}
    assert min(pair.agreement.sqnr for pair in found.pairs) > 30


def test_limits_name_what_they_are_about() -> None:
    data = convert(small_network(), calibration=SAMPLES).data
    cases = {
        "SQNR": Limits(min_sqnr=90.0),
        "cosine": Limits(None, min_cosine=0.99999999),
        "largest error": Limits(None, max_error=1e-6),
    }
    for words, limits in cases.items():
        broken = compare(small_network(), data, FEW, limits=limits).first_broken
        assert broken is not None and broken.broken.startswith(words)
        assert broken.reference.name == WEIGHTED[0]


def test_stored_integers_are_samples_of_quantised_inputs() -> None:
    converted = convert(small_network(), calibration=SAMPLES, io="int8")
    entry = converted.metadata["inputs"][0]
    stored = np.clip(np.rint(FEW / entry["scale"]) + entry["zero_point"], -128, 127)
    found = compare(small_network(), converted.data, stored.astype(np.int8))
    assert min(pair.agreement.sqnr for pair in found.pairs) > 30


def test_models_of_other_inputs_are_refused() -> None:
    b = GraphBuilder()
    other = b.build(b.node("relu", [b.input((1, 4), None)], (1, 4), None))
    with pytest.raises(InputError, match="do not correspond"):
        compare(small_network(), other, FEW)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ModelReadError, match=r"nowhere\.edge"):
        compare("nowhere.edge", small_network(), FEW)


@pytest.mark.parametrize(
    "name",
    ["conv_QuantizeLinear_Output", "conv (int8)", "conv (int8)_1", "conv_quantized", "conv"],
)
def test_additions_of_quantising_tools_are_taken_off(name: str) -> None:
    assert plain_name(name) == "conv"


def test_a_name_that_is_only_an_addition_stays() -> None:
    assert plain_name("_quantized") == "_quantized"


def test_channel_scales_survive_the_file() -> None:
    scales = {"a": numbers(1, 7).astype(np.float64), "b": np.ones(3), "c": np.ones(3)}
    groups = encoded_scales(scales)
    assert sorted(len(group["tensors"]) for group in groups) == [1, 2]
    found = decoded_scales({"quantization": {"channel_scales": groups}})
    assert sorted(found) == ["a", "b", "c"]
    np.testing.assert_allclose(found["a"], scales["a"], rtol=1e-7)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"quantization": 3},
        {"quantization": {"channel_scales": {"a": "b"}}},
        {"quantization": {"channel_scales": [{"tensors": ["a"], "scales": "not base64"}]}},
        {"quantization": {"channel_scales": [{"tensors": 5, "scales": "AAAA"}]}},
        {"quantization": {"channel_scales": [7]}},
    ],
)
def test_channel_scales_of_another_form_are_left_out(metadata: dict[str, Any]) -> None:
    assert decoded_scales(metadata) == {}
