"""Divide a transpose in front of a reshape in two, where one half then cancels.

A channel shuffle of an NCHW source is reshape, transpose, reshape. Once the transposes of its
neighbours have sunk into it, its transpose does two things: it exchanges the two axes that the
second reshape joins, and it brings NHWC to NCHW. The second half can sink on through the reshape,
and usually meets its inverse.

Whether that pays depends on everything behind it, so it is tried: on a copy of the graph, in which
transposes are then cancelled. The copy is kept when it moves fewer bytes.
"""

from __future__ import annotations

from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.passes.cancel_transposes import (
    cancel_transposes,
    sink_transposes,
    transposed_bytes,
)
from edgeinfer.convert.passes.edit import activation_like, copied, insert_before, producer_of
from edgeinfer.convert.passes.permutations import (
    Perm,
    Shape,
    is_identity,
    permuted,
    split_at_reshape,
)


def split_transposes(graph: Graph) -> bool:
    """Split every transpose for which it pays."""
    changed = False
    index = 0
    while index < len(graph.nodes):
        if _halves(graph, graph.nodes[index]) is not None:
            trial = copied(graph)
            _split(trial, trial.nodes[index])
            sink_transposes(trial)  # the halves would meet again if they were raised
            cancel_transposes(trial)
            if transposed_bytes(trial) < transposed_bytes(graph):
                graph.nodes, graph.outputs = trial.nodes, trial.outputs
                changed = True
                continue
        index += 1
    return changed


def _halves(graph: Graph, reshape: Node) -> tuple[Node, Perm, Shape, Perm] | None:
    """The transpose in front of a reshape, and what `split_at_reshape` makes of the two."""
    if reshape.op != "reshape":
        return None
    node = producer_of(graph, reshape.input(0))
    if node is None or node.op != "transpose":
        return None
    found = split_at_reshape(node.input(0).shape, node.attrs["perm"], reshape.output.shape)
    return None if found is None or is_identity(found[2]) else (node, *found)


def _split(graph: Graph, reshape: Node) -> None:
    found = _halves(graph, reshape)
    assert found is not None
    node, first, inner, moved = found
    x = node.input(0)
    middle = activation_like(x, "first half", shape=permuted(x.shape, first))
    joined = activation_like(reshape.output, "untransposed", shape=inner)
    insert_before(
        graph,
        reshape,
        Node("transpose", [x], [middle], {"perm": first}, None, node.name, node.source),
        Node("reshape", [middle], [joined], {}, None, reshape.name, reshape.source),
    )
    reshape.op, reshape.inputs, reshape.attrs = "transpose", [joined], {"perm": moved}
