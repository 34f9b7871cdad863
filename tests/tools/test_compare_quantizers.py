"""Our INT8 beside onnxruntime's: the model that both get is the same, and the table is made."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.convert.passes import run_passes
from tests.convert.float_networks import SAMPLES, outputs, small_network, trained_mobilenet
from tests.requirements import require_module
from tools.compare_quantizers import compare
from tools.onnx_of_graph import onnx_of_graph
from tools.real_samples import MODEL_FILES, samples_of


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_an_exported_graph_computes_the_same(activation: str) -> None:
    onnxruntime = require_module("onnxruntime")
    for graph, shape in (
        (small_network(), SAMPLES.shape[1:]),
        (trained_mobilenet(0, 0, activation), (1, 16, 16, 3)),
    ):
        run_passes(graph)
        session = onnxruntime.InferenceSession(onnx_of_graph(graph).SerializeToString())
        x = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
        name = session.get_inputs()[0].name
        found = np.stack([session.run(None, {name: sample})[0].reshape(-1) for sample in x])
        np.testing.assert_allclose(found, outputs(graph, x), rtol=1e-3, atol=1e-3)


def test_an_operator_that_cannot_be_written_is_named() -> None:
    graph = small_network()
    graph.nodes[-1].op = "cumsum"
    with pytest.raises(ValueError, match="cumsum cannot be written"):
        onnx_of_graph(graph)


def test_digits_are_as_near_as_onnxruntimes() -> None:
    require_module("onnxruntime")
    row = compare(MODEL_FILES["digits"], samples_of("digits", 256), 128)
    assert row["ours, dB"] >= row["onnxruntime, dB"]


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 450 samples for digits, not 451"):
        samples_of("digits", 451)
