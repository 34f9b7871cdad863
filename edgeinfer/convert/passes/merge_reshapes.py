"""One reshape instead of several in a row."""

from __future__ import annotations

from edgeinfer.convert.graph import Graph


def merge_reshapes(graph: Graph) -> bool:
    """Let each reshape read what the reshape in front of it reads."""
    changed = False
    producers = graph.producers()
    for node in graph.nodes:
        if node.op != "reshape":
            continue
        producer = producers.get(node.input(0))
        if producer is not None and producer.op == "reshape" and producer.activation is None:
            node.inputs = [producer.input(0)]
            changed = True
    return changed
