"""Let a softmax multiply by the scalar in front of it.

Attention divides its scores by a constant before the softmax, over as many numbers as there are
pairs of tokens. The operator has a factor of its own (`beta`), which costs nothing. In float32
alone, for a positive scalar, and where nothing else reads the scaled scores; a mask that is added
in between keeps the product where it is. Results differ by the rounding of one product.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.passes.edit import absorb_names, only_reader


def fold_softmax_scales(graph: Graph) -> bool:
    """Fold every product or quotient by a scalar; return whether one went."""
    changed = False
    readers = graph.consumers()
    for node in list(graph.nodes):
        if node.op not in ("mul", "div") or node.activation is not None:
            continue
        softmax = only_reader(graph, node.output, readers)
        if softmax is None or softmax.op != "softmax" or node.output.dtype != "float32":
            continue
        for place in (0, 1) if node.op == "mul" else (0,):
            factor = _factor(node, place)
            if factor is None:
                continue
            x = node.input(place)
            beta = float(np.float32(softmax.attrs.get("beta", 1.0) * factor))
            softmax.attrs = {**softmax.attrs, "beta": beta}
            softmax.inputs[0] = x
            absorb_names(softmax, [node])
            graph.nodes.remove(node)
            changed = True
            break
    return changed


def _factor(node: Node, place: int) -> float | None:
    """The positive scalar that input `place` is multiplied by."""
    x, other = node.input(place), node.input(1 - place)
    if x.dtype != "float32" or x.shape != node.output.shape:
        return None
    if other.data is None or other.data.size != 1 or other.dtype != "float32":
        return None
    value = float(other.data.reshape(-1)[0])
    if not value > 0:
        return None
    factor = value if node.op == "mul" else 1 / value
    limits = np.finfo(np.float32)
    return factor if float(limits.tiny) <= factor <= float(limits.max) else None
