"""Inputs of a model that nobody gave samples for: random numbers that it can run on.

    float32                        standard normal
    integers that index a table    any row of it, all alike; of several tables, rows that all have
    other integers, and bool       ones, such as a mask that hides nothing

Words in random order are no sentences. But the layers of a trained model mix what they read in the
same way, and normalise it, so that what reaches a layer has about the channels and the magnitudes
that it has otherwise: enough to tell a layer that bears coarse weights from one that does not.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Graph, Tensor
from edgeinfer.convert.quantize.run_graph import Sample

_MOVES = frozenset({"cast", "reshape", "transpose", "slice", "concat", "pad", "gather"})
"""Operators behind which an index is still an index."""


def synthetic_inputs(graph: Graph, count: int, seed: int = 0) -> list[Sample]:
    """So many samples for a graph on which the passes have run."""
    rng = np.random.default_rng(seed)
    rows = {tensor: _rows_indexed(graph, tensor) for tensor in graph.inputs}

    def values(tensor: Tensor) -> np.ndarray:
        if tensor.dtype == "float32":
            return rng.standard_normal(tensor.shape).astype(np.float32)
        most = rows[tensor]
        if most is None or tensor.dtype == "bool":
            return np.ones(tensor.shape, tensor.dtype)
        most = min(most, np.iinfo(tensor.dtype).max)
        return rng.integers(0, most, tensor.shape).astype(tensor.dtype)

    return [{tensor.name: values(tensor) for tensor in graph.inputs} for _ in range(count)]


def _rows_indexed(graph: Graph, tensor: Tensor) -> int | None:
    """Rows of the smallest table that a tensor's values index; None where they index none."""
    readers = graph.consumers()
    found: list[int] = []
    pending, seen = [tensor], {tensor}
    while pending:
        current = pending.pop()
        for node in readers.get(current, []):
            if node.op == "gather" and node.inputs[1] is current:
                found.append(node.input(0).shape[int(node.attrs["axis"])])
            elif node.op in _MOVES:
                made = [output for output in node.outputs if output not in seen]
                pending.extend(made)
                seen.update(made)
    return min(found, default=None)
