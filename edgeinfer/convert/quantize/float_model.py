"""The float teacher: what the quantised model is calibrated on and compared with.

It runs the prepared float graph (the passes have run; batch norms are folded and activations fused)
in the C core's float32 kernels, whose bits are the same on every machine and at every number of
threads. So calibration gives the same file everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.convert.graph import Graph, Tensor
from edgeinfer.convert.quantize.run_graph import GraphRunner, Sample


class FloatModel:
    """A prepared float graph that runs, with any of its tensors to be seen.

    Parameters
    ----------
    graph : prepared by `prepare_graph.prepare`; not changed.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._runners: dict[tuple[str, ...], GraphRunner] = {}

    @property
    def activations(self) -> list[Tensor]:
        """Every float32 tensor that is computed or fed: what quantisation needs a range for."""
        return [
            tensor
            for tensor in self.graph.tensors()
            if tensor.dtype == "float32" and not tensor.is_constant
        ]

    def runner(self, names: Sequence[str] | None = None) -> GraphRunner:
        """Runs that hand out these tensors (the outputs by default). The last few are kept."""
        key = tuple(names) if names is not None else tuple(t.name for t in self.graph.outputs)
        if key not in self._runners:
            while len(self._runners) >= 2:  # each holds weights and an arena
                self._runners.pop(next(iter(self._runners)))
            self._runners[key] = GraphRunner(self.graph, key)
        return self._runners[key]

    def run(self, sample: Sample, names: Sequence[str] | None = None) -> dict[str, object]:
        """Tensors of one sample by name."""
        return dict(self.runner(names).run(sample))
