"""Give a fused activation a node of its own where the operator cannot apply it.

TFLite lets a concatenation have one; the runtime's concat copies bytes.
"""

from __future__ import annotations

from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.lower.activations import activation_bounds
from edgeinfer.convert.lower.functions import UNARY
from edgeinfer.convert.passes.edit import activation_like, insert_after
from edgeinfer.convert.passes.fuse_activations import FUSES

APPLIES = FUSES | UNARY | {"pointwise"}
"""Operators that bound what they store, or whose table does."""


def split_activations(graph: Graph) -> bool:
    """Put a clip behind every other operator that has an activation."""
    changed = False
    for node in list(graph.nodes):
        if node.activation is None or node.op in APPLIES or node.op == "unsupported":
            continue
        low, high = activation_bounds(node.activation)
        result = node.output
        unbounded = activation_like(result, "unbounded")
        node.outputs, node.activation = [unbounded], None
        bounds = {"min": low, "max": high}
        insert_after(
            graph, node, Node("clip", [unbounded], [result], bounds, None, node.name, node.source)
        )
        changed = True
    return changed
