"""tools/reference_models.py: the networks are those of the papers, and their activations live."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.read import read_model
from edgeinfer.step_costs import count_macs
from tests.requirements import require_module
from tools.compare import OnnxRuntime
from tools.reference_models import (
    REFERENCE_MODELS,
    build_float_model,
    build_reference_model,
    random_images,
)


@pytest.mark.parametrize(("name", "mmac"), [("resnet50", 4089), ("mobilenet_v2_onnx", 301)])
def test_a_reference_model_has_the_multiplications_of_its_paper(name: str, mmac: int) -> None:
    onnx = require_module("onnx")
    graph = onnx.shape_inference.infer_shapes(build_float_model(name)).graph
    weights = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    outputs = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    count = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            count += math.prod(outputs[node.output[0]]) * math.prod(weights[node.input[1]][1:])
    assert round(count / 1e6) == mmac


def test_a_quantised_reference_model_gives_what_onnxruntime_gives(tmp_path: Path) -> None:
    require_module("onnxruntime")
    path = build_reference_model("mobilenet_v2_onnx", tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    conversion = convert(path)
    assert round(count_macs(read_model(conversion.data).programs[0]) / 1e6) == 301
    peer = OnnxRuntime(path.read_bytes(), exact=True)
    with edgeinfer.load(conversion.data) as model:
        for image in random_images(2, seed=9):
            ours, (theirs,) = model.run(image), peer.run([image])
            assert len(np.unique(ours)) > 50, "the activations of some layer are dead"
            step = np.min(np.diff(np.unique(theirs)))
            assert np.abs(ours - theirs).max() <= 3.5 * step
            assert ours.argmax() == theirs.argmax()


def test_a_model_that_was_built_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "resnet50.onnx").write_bytes(b"built before")
    assert build_reference_model("resnet50", tmp_path).read_bytes() == b"built before"


def test_the_same_seed_gives_the_same_network() -> None:
    require_module("onnx")
    build = REFERENCE_MODELS["mobilenet_v2_onnx"]
    (first, logits), (again, _), (other, _) = build(0), build(0), build(1)
    assert logits == first.nodes[-1].output[0]
    assert first.nodes == again.nodes and first.weights == again.weights
    assert first.weights != other.weights
