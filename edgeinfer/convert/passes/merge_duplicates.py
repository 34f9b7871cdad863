"""Compute once what is computed twice: nodes of equal operator, operands and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor


def merge_duplicates(graph: Graph) -> bool:
    """Let readers of a repeated node read the first one. A node that makes graph outputs stays."""
    first: dict[Any, Node] = {}
    changed = False
    for node in list(graph.nodes):
        key = _key(node)
        earlier = first.setdefault(key, node)
        if earlier is node or any(tensor in graph.outputs for tensor in node.outputs):
            continue
        for old, new in zip(node.outputs, earlier.outputs, strict=True):
            graph.replace_input(old, new)
        graph.nodes.remove(node)
        changed = True
    return changed


def _key(node: Node) -> Any:
    return (
        node.op,
        tuple(None if tensor is None else id(tensor) for tensor in node.inputs),
        tuple(_type_key(tensor) for tensor in node.outputs),
        tuple(sorted((name, _hashable(value)) for name, value in node.attrs.items())),
        node.activation,
    )


def _type_key(tensor: Tensor) -> Any:
    return tensor.shape, tensor.dtype, _hashable(tensor.quantization)


def _hashable(value: Any) -> Any:
    if isinstance(value, Quantization):
        return value.scale.tobytes(), value.zero_point.tobytes(), value.axis
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes()
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(item) for item in value)
    return (
        repr(value)
        if not isinstance(value, (int, float, str, type(None)))
        else (
            type(value).__name__,
            value,
        )
    )
