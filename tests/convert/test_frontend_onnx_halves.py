"""Models in float16 and bfloat16 are read as the float32 models that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeinfer
import edgeinfer.onnx_backend
from edgeinfer.convert import convert
from edgeinfer.convert.frontends import onnx as frontend
from edgeinfer.convert.frontends.onnx.widen_halves import widen_halves

HALVES = [TensorProto.FLOAT16, TensorProto.BFLOAT16]
X = np.random.default_rng(0).uniform(-2, 2, (2, 3, 5, 5)).astype(np.float32)


def network(kind: int) -> onnx.ModelProto:
    """A convolution, its Relu, a cast to float32 and back, and a Constant that is added."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    rng = np.random.default_rng(1)
    w = rng.uniform(-1, 1, (4, 3, 3, 3)).astype(np.float16)  # exact in all types here
    w = (np.round(w * 8) / 8).astype(dtype)
    one = numpy_helper.from_array(np.full((4, 1, 1), 0.25).astype(dtype), "one")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["c"], ["d"], to=kind),
        helper.make_node("Constant", [], ["e"], value=one),
        helper.make_node("Add", ["d", "e"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, kind, s) for n, s in
             (("x", [2, 3, 5, 5]), ("y", [2, 4, 3, 3]))]  # fmt: skip
    graph = helper.make_graph(
        nodes, "halves", infos[:1], infos[1:], [numpy_helper.from_array(w, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])


def run(model: onnx.ModelProto, x: np.ndarray) -> Any:
    with edgeinfer.load(convert(model.SerializeToString(), name="m").data) as loaded:
        return loaded.run(x)


@pytest.mark.parametrize("kind", HALVES)
def test_the_arithmetic_is_that_of_the_float32_model(kind: int) -> None:
    graph = frontend.read(network(kind).SerializeToString(), "m")
    assert graph.problems == []
    assert {t.dtype for t in graph.tensors()} == {"float32"}
    np.testing.assert_array_equal(run(network(kind), X), run(network(TensorProto.FLOAT), X))


@pytest.mark.parametrize("kind", HALVES)
def test_the_backend_takes_and_gives_halves(kind: int) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    (y,) = edgeinfer.onnx_backend.prepare(network(kind)).run([X.astype(dtype)])
    assert y.dtype == dtype
    expected = run(network(TensorProto.FLOAT), X.astype(dtype).astype(np.float32))
    np.testing.assert_array_equal(y, expected.astype(dtype))


def test_a_float32_model_is_left_as_it_is() -> None:
    model = network(TensorProto.FLOAT)
    assert widen_halves(onnx, model) is model
