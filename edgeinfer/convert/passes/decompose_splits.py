"""Turn a split into one slice per part; the runtime reads slices in place where it can."""

from __future__ import annotations

from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.passes.edit import replace


def decompose_splits(graph: Graph) -> bool:
    """Replace every split."""
    changed = False
    for node in list(graph.nodes):
        if node.op != "split":
            continue
        x, axis = node.input(0), node.attrs["axis"]
        rank = len(x.shape)
        slices, at = [], 0
        for part in node.outputs:
            begin = tuple(at if i == axis else 0 for i in range(rank))
            attrs = {"begin": begin, "strides": (1,) * rank}
            slices.append(
                Node("slice", [x], [part], attrs, None, node.name, node.source, node.absorbed)
            )
            at += part.shape[axis]
        replace(graph, node, *slices)
        changed = True
    return changed
