"""Run a graph in stretches: all samples through one stretch before any goes through the next.

What is held between two stretches is what later nodes read. So a node may be changed by what all
samples bring to it, and every node runs once for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample


class GraphWalk:
    """Samples on their way through a graph.

    Parameters
    ----------
    graph : needs no more passes; its tensors' names differ. Nodes that were not passed yet may be
        changed, but not which tensors they make.
    samples : the graph's inputs by name.

    Attributes
    ----------
    held : for each sample the tensors by name that are made and still read, as they are stored.
    """

    def __init__(self, graph: Graph, samples: Sequence[Sample]) -> None:
        self.held: list[dict[str, Array]] = [dict(sample) for sample in samples]
        self._graph = graph
        self._done = 0

    def until(self, node: Node) -> None:
        """Run everything in front of a node."""
        nodes = self._graph.nodes
        end = nodes.index(node)
        stretch, rest = nodes[self._done : end], nodes[end:]
        self._done = max(self._done, end)
        if not stretch:
            return
        later = {tensor for n in rest for tensor in n.inputs} | set(self._graph.outputs)
        made = dict.fromkeys(tensor for n in stretch for tensor in n.outputs)
        wanted = [tensor for tensor in made if tensor in later]
        runner = GraphRunner(
            Graph(
                self._graph.name,
                _read(stretch, made),
                wanted,
                stretch,
                self._graph.source_format,
            ),
            [tensor.name for tensor in wanted],
        )
        kept = {tensor.name for tensor in later if tensor is not None}
        for held in self.held:
            found = runner.run(held)
            for name in [name for name in held if name not in kept]:
                del held[name]
            held.update(found)


def _read(stretch: Sequence[Node], made: dict[Tensor, None]) -> list[Tensor]:
    """What nodes read of what was made before them."""
    read = dict.fromkeys(tensor for node in stretch for tensor in node.inputs)
    return [t for t in read if t is not None and not t.is_constant and t not in made]
