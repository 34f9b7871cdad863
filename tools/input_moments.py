"""What fully connected layers of a float graph read, as second moments over samples.

`feed_back_errors` rounds weights by them. The graph runs in the C core, in float32. Of text, tokens
that only fill up the sequence say nothing of what layers read: where a graph has an input
`attention_mask`, rows that it masks are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample

Reals = npt.NDArray[np.float64]

MASK = "attention_mask"
"""How exporters call the input that tells words from filling, 1 from 0."""


def input_moments(
    graph: Graph,
    layers: Sequence[Node],
    samples: Sequence[Sample],
    progress: Progress | None = None,
) -> dict[Tensor, Reals]:
    """Mean of x x' over the rows x [K] that layers are fed, by the layer's weights.

    Parameters
    ----------
    graph : float; the passes have run, and names differ (`prepare_graph.name_uniquely`).
    layers : fully connected ones of it. Those that share weights are taken together.
    samples : inputs by name, as the graph takes them.
    """
    readers: dict[str, list[Tensor]] = {}
    for node in layers:
        readers.setdefault(node.input(0).name, []).append(node.input(1))
    sums: dict[Tensor, Reals] = {}
    counts: dict[Tensor, int] = {}
    runner = GraphRunner(graph, list(readers))
    for number, sample in enumerate(samples):
        for name, x in runner.run(sample).items():
            rows = _rows_that_count(x, sample.get(MASK))
            moments = (rows.T @ rows).astype(np.float64)
            for weights in dict.fromkeys(readers[name]):
                sums[weights] = sums[weights] + moments if weights in sums else moments
                counts[weights] = counts.get(weights, 0) + len(rows)
        if progress is not None:
            progress(f"looking at what layers read: sample {number + 1} of {len(samples)}")
    return {weights: total / max(counts[weights], 1) for weights, total in sums.items()}


def _rows_that_count(x: Array, mask: Array | None) -> npt.NDArray[np.float32]:
    """[rows, K], without those of tokens that are masked."""
    rows: npt.NDArray[np.float32] = np.ascontiguousarray(x, np.float32).reshape(-1, x.shape[-1])
    if mask is None or mask.size != len(rows):
        return rows
    return np.asarray(rows[mask.reshape(-1) != 0])
