"""Small changes to a graph that passes are made of; each keeps the graph consistent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor


def activation_like(tensor: Tensor, what: str, *, shape: tuple[int, ...] | None = None) -> Tensor:
    """A new tensor of the dtype and quantisation of `tensor`, named after it."""
    return Tensor(
        name=f"{tensor.name} ({what})",
        shape=tensor.shape if shape is None else shape,
        dtype=tensor.dtype,
        quantization=tensor.quantization,
    )


def constant(name: str, data: npt.NDArray[Any], quantization: Quantization | None = None) -> Tensor:
    """A constant tensor holding `data`."""
    data = np.ascontiguousarray(data).reshape(data.shape)
    return Tensor(name, data.shape, str(data.dtype), quantization, data)


def same_type(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors store the same real numbers as the same bytes."""
    if a.dtype != b.dtype:
        return False
    if a.quantization is None:
        return b.quantization is None
    return a.quantization.same_as(b.quantization)


def insert_before(graph: Graph, anchor: Node, *nodes: Node) -> None:
    """Put nodes in front of `anchor`, in the order given."""
    index = graph.nodes.index(anchor)
    graph.nodes[index:index] = nodes


def insert_after(graph: Graph, anchor: Node, *nodes: Node) -> None:
    """Put nodes behind `anchor`, in the order given."""
    index = graph.nodes.index(anchor) + 1
    graph.nodes[index:index] = nodes


def replace(graph: Graph, node: Node, *nodes: Node) -> None:
    """Put nodes in the place of `node`; they must make its outputs, where these are still read."""
    index = graph.nodes.index(node)
    graph.nodes[index : index + 1] = nodes


def bypass(graph: Graph, node: Node) -> bool:
    """Remove a node whose output equals its first input, and say whether that was possible.

    A graph output keeps its tensor, and so its name: the producer then makes the node's output in
    the place of the input. That cannot be where the input is itself a graph input, a graph output
    or a constant; the node then stays.
    """
    source, result = node.input(0), node.output
    if result in graph.outputs:
        if source.is_constant or source in graph.inputs or source in graph.outputs:
            return False
        graph.nodes.remove(node)
        for other in graph.nodes:
            other.outputs = [result if tensor is source else tensor for tensor in other.outputs]
        graph.replace_input(source, result)
    else:
        graph.nodes.remove(node)
        graph.replace_input(result, source)
    return True


def readers_of(graph: Graph, tensor: Tensor) -> list[Node]:
    """The nodes that read one tensor, each once: cheaper than all of `consumers`."""
    return [node for node in graph.nodes if tensor in node.inputs]


def producer_of(graph: Graph, tensor: Tensor) -> Node | None:
    """The node that makes one tensor: cheaper than all of `producers`."""
    return next((node for node in graph.nodes if tensor in node.outputs), None)


def only_reader(graph: Graph, tensor: Tensor, readers: dict[Tensor, list[Node]]) -> Node | None:
    """The node that alone reads `tensor`; None when several do, or it is a graph output."""
    found = readers.get(tensor, [])
    return found[0] if len(found) == 1 and tensor not in graph.outputs else None


def absorb_names(into: Node, nodes: Iterable[Node]) -> None:
    """Note in `into` that it now also does the work of `nodes` of the source model."""
    for node in nodes:
        into.absorbed += tuple(name for name in (node.name, *node.absorbed) if name)


def copied(graph: Graph) -> Graph:
    """The graph with nodes of its own; tensors are shared, so passes must not change those."""
    nodes = [
        Node(
            node.op,
            list(node.inputs),
            list(node.outputs),
            dict(node.attrs),
            node.activation,
            node.name,
            node.source,
            node.absorbed,
            node.float_reason,
            node.int16_reason,
        )
        for node in graph.nodes
    ]
    return Graph(graph.name, graph.inputs, list(graph.outputs), nodes, graph.source_format)
