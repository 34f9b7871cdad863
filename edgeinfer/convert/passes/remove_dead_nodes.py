"""Drop nodes that nothing reads."""

from __future__ import annotations

from edgeinfer.convert.graph import Graph


def remove_dead_nodes(graph: Graph) -> bool:
    """Walk backwards from the outputs; what is not met goes. Graph inputs stay."""
    needed = {id(tensor) for tensor in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if any(id(tensor) in needed for tensor in node.outputs):
            needed.update(id(tensor) for tensor in node.inputs if tensor is not None)
            kept.append(node)
    changed = len(kept) != len(graph.nodes)
    graph.nodes = kept[::-1]
    return changed
