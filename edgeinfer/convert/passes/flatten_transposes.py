"""A transpose that moves only axes of length 1 leaves the bytes in their order: a reshape."""

from __future__ import annotations

from edgeinfer.convert.graph import Graph
from edgeinfer.convert.passes.permutations import moves_nothing


def flatten_transposes(graph: Graph) -> bool:
    """Turn such transposes into reshapes. Runs when no transpose can cancel any more."""
    changed = False
    for node in graph.nodes:
        if node.op == "transpose" and moves_nothing(node.input(0).shape, node.attrs["perm"]):
            node.op, node.attrs = "reshape", {}
            changed = True
    return changed
