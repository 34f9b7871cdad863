"""Multiply by a scalar before elements are moved, where that is part of a layer's weights.

Exporters scale queries and keys after they have been split into heads: a product behind a reshape
and a transpose. Or they scale the scores, queries times keys, before a mask is added. A scalar
commutes with moves and with products of matrices, so it goes to the layer in front of them, where
`fold_scales` makes it part of the weights. In float32 alone, and where nothing else reads what lies
between; the results have the same rounding as those of `fold_scales`.
"""

from __future__ import annotations

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import activation_like, constant, insert_after, only_reader
from edgeinfer.convert.passes.fold_scales import OUTPUT_AXIS

_PASSED = ("reshape", "transpose", "batch_matmul")
"""What a scalar may pass, always by way of the first input."""


def raise_scales(graph: Graph) -> bool:
    """Move every such product at once to the layer whose weights it can be part of."""
    changed = False
    for node in list(graph.nodes):
        if node.op not in ("mul", "div") or node.activation is not None:
            continue
        producers, readers = graph.producers(), graph.consumers()
        for place in (0, 1) if node.op == "mul" else (0,):
            moves = _moves_before(graph, node, place, producers, readers)
            if moves:
                _raise(graph, node, place, moves)
                changed = True
                break
    return changed


def _moves_before(
    graph: Graph,
    node: Node,
    place: int,
    producers: dict[Tensor, Node],
    readers: dict[Tensor, list[Node]],
) -> list[Node]:
    """What is between a layer and the product, the last one first; none if it is not so."""
    x, other = node.input(place), node.input(1 - place)
    if other.data is None or other.data.size != 1 or other.dtype != "float32":
        return []
    if x.shape != node.output.shape or len(other.shape) > len(x.shape):
        return []
    moves: list[Node] = []
    reader = node
    while True:
        if x.dtype != "float32" or only_reader(graph, x, readers) is not reader:
            return []
        producer = producers.get(x)
        if producer is None or producer.activation is not None:
            return []
        if producer.op in OUTPUT_AXIS:
            return moves
        if producer.op not in _PASSED:
            return []
        moves.append(producer)
        reader, x = producer, producer.input(0)


def _raise(graph: Graph, node: Node, place: int, moves: list[Node]) -> None:
    """layer -> moves -> product becomes layer -> product -> moves."""
    last, first = moves[0], moves[-1]
    x = first.input(0)
    factor = node.input(1 - place)
    assert factor.data is not None
    scalar = constant(factor.name, factor.data.reshape(()))
    scaled = activation_like(x, "scaled")
    inputs: list[Tensor | None] = [scalar, x] if place else [x, scalar]
    product = Node(node.op, inputs, [scaled], {}, None, node.name, node.source, node.absorbed)
    last.outputs = [node.output]
    first.inputs[0] = scaled
    graph.nodes.remove(node)
    insert_after(graph, graph.producers()[x], product)
