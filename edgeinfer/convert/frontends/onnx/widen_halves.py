"""Models in float16 or bfloat16, read as the float32 model that they were before.

Every tensor, type and conversion of the two types becomes one of float32, whose numbers include
theirs, so that constants are exact. Results are those of float32 arithmetic: nothing between two
operators is rounded to half precision, and nothing overflows there. Inputs and outputs of the
model are float32 as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

_TYPE_ATTRIBUTES = ("dtype", "output_dtype", "softmax_precision", "stash_type", "to")
"""Attributes that name an element type."""


def widen_halves(onnx: ModuleType, model: Any) -> Any:
    """The model itself where it has neither type, else a copy in float32.

    Local functions are inlined before; subgraphs are widened with their node.
    """
    halves = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    if not any(kind.elem_type in halves for kind in _types(model.graph)) and not any(
        tensor.data_type in halves for tensor in _constants(model.graph)
    ):
        return model
    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    for graph in _graphs(widened.graph):
        del graph.value_info[:]  # what is inferred anew is of float32
    for kind in _types(widened.graph):
        if kind.elem_type in halves:
            kind.elem_type = onnx.TensorProto.FLOAT
    for tensor in _constants(widened.graph):
        if tensor.data_type in halves:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for attribute in _attributes(widened.graph):
        if attribute.name in _TYPE_ATTRIBUTES and attribute.i in halves:
            attribute.i = onnx.TensorProto.FLOAT
    return widened


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for inner in attribute.graphs:
                yield from _graphs(inner)


def _types(graph: Any) -> Iterator[Any]:
    """The types of all tensors that say theirs."""
    for part in _graphs(graph):
        for info in (*part.input, *part.output, *part.value_info):
            if info.type.WhichOneof("value") == "tensor_type":
                yield info.type.tensor_type


def _attributes(graph: Any) -> Iterator[Any]:
    for part in _graphs(graph):
        for node in part.node:
            yield from node.attribute


def _constants(graph: Any) -> Iterator[Any]:
    """All tensors that are stored."""
    for part in _graphs(graph):
        yield from part.initializer
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
