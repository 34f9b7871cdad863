"""Run one ONNX node on float inputs here and in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import edgeinfer
from edgeinfer.convert import convert

TOLERANCE = 1e-5
"""Of one node's sums against onnxruntime's, relative to the largest value."""


def node_model(
    op: str,
    operands: Sequence[np.ndarray | None],
    *,
    given: Sequence[int] = (0,),
    outputs: int = 1,
    opset: int = 21,
    attrs: dict[str, Any] | None = None,
) -> tuple[bytes, list[np.ndarray]]:
    """A model of one node, and its inputs: the operands listed in `given`; others are constants."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(operands)]
    infos, constants, inputs = [], [], []
    for i, (name, x) in enumerate(zip(names, operands, strict=True)):
        if x is None:
            continue
        if i in given:
            kind = helper.np_dtype_to_tensor_dtype(x.dtype)
            infos.append(helper.make_tensor_value_info(name, kind, x.shape))
            inputs.append(x)
        else:
            constants.append(numpy_helper.from_array(x, name))
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, made, **(attrs or {}))
    graph = helper.make_graph(
        [node], op, infos, [helper.make_empty_tensor_value_info(y) for y in made], constants
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return onnx.shape_inference.infer_shapes(model).SerializeToString(), inputs


def check_model(
    model: bytes, inputs: Sequence[np.ndarray], tolerance: float = TOLERANCE
) -> list[str]:
    """Compare with onnxruntime; returns the operators of the graph after the passes."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    expected = session.run(None, dict(zip(names, inputs, strict=True)))
    converted = convert(model, name="model")
    with edgeinfer.load(converted.data) as loaded:
        results = loaded.run(dict(zip(names, inputs, strict=True)))
    actual = list(results.values()) if isinstance(results, dict) else [results]
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if ours.dtype == np.float32:
            largest = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0))
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * largest)
        else:
            np.testing.assert_array_equal(ours, theirs)
    return [node.op for node in converted.graph.nodes]


def check_node(op: str, operands: Sequence[np.ndarray | None], **options: Any) -> list[str]:
    """`node_model`, compared with onnxruntime."""
    model, inputs = node_model(op, operands, **options)
    return check_model(model, inputs)
