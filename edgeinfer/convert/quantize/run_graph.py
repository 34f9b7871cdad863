"""Run a graph in the C core and see any of its tensors, sample by sample.

The graph is copied with the tensors that are asked for as outputs, lowered, planned and loaded from
memory: what is seen is what a device computes. Tensors that would take more than `MAX_BYTES` at
once are seen in several runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import edgeinfer
from edgeinfer.convert.graph import Graph, Tensor
from edgeinfer.convert.lower.lower_graph import lower
from edgeinfer.convert.lower.quantized import quantized
from edgeinfer.convert.passes.edit import copied
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.write import write_model
from edgeinfer.errors import ConversionError

Array = npt.NDArray[Any]
Sample = Mapping[str, Array]
"""One run's inputs by name, each of the input's own shape and dtype."""

MAX_BYTES = 256 << 20
"""Of the tensors that one run hands out."""
MAX_THREADS = 8


class GraphRunner:
    """Runs a graph that needs no more passes, and hands out chosen tensors.

    Parameters
    ----------
    graph : not changed. Its tensors' names must differ (`prepare_graph.name_uniquely`).
    names : the tensors to hand out, by name; the graph's outputs by default.

    Raises
    ------
    ConversionError
        The graph has nodes that the runtime cannot run; all are listed.
    """

    def __init__(self, graph: Graph, names: Sequence[str] | None = None) -> None:
        self.graph = graph
        chosen = self._chosen(names)
        self._models = [self._load(part) for part in _in_parts(chosen)]

    def run(self, sample: Sample) -> dict[str, Array]:
        """The chosen tensors of one sample, as they are stored, by name."""
        found: dict[str, Array] = {}
        for tensors, model in self._models:
            feed = {
                info.name: sample[tensor.name]
                for info, tensor in zip(model.inputs, self.graph.inputs, strict=True)
            }
            result = model.run(feed)
            made = result if isinstance(result, dict) else {model.outputs[0].name: result}
            for info, tensor in zip(model.outputs, tensors, strict=True):
                found[tensor.name] = made[info.name]
        return found

    def _chosen(self, names: Sequence[str] | None) -> list[Tensor]:
        if names is None:
            return list(dict.fromkeys(self.graph.outputs))
        by_name = {tensor.name: tensor for tensor in self.graph.tensors()}
        return [by_name[name] for name in names]

    def _load(self, tensors: list[Tensor]) -> tuple[list[Tensor], edgeinfer.Model]:
        graph = copied(self.graph)
        graph.outputs = list(tensors)
        _remove_unread(graph)
        lowered = lower(graph)
        if lowered.problems:
            raise ConversionError(f"{graph.name} cannot be run", lowered.problems)
        plan = plan_program(lowered.program)
        data = write_model([(lowered.program, plan)], {})
        threads = max(1, min(len(os.sched_getaffinity(0)), MAX_THREADS))
        return tensors, edgeinfer.load(data, threads=threads)


def _in_parts(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in lists of at most MAX_BYTES each."""
    parts: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        nbytes = int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
        if parts[-1] and size + nbytes > MAX_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(tensor)
        size += nbytes
    return parts


def _remove_unread(graph: Graph) -> None:
    """Drop nodes of which no output is read: what follows the last chosen tensor."""
    wanted = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if any(tensor in wanted for tensor in node.outputs):
            kept.append(node)
            wanted.update(tensor for tensor in node.inputs if tensor is not None)
    graph.nodes = kept[::-1]


def fed(inputs: Sequence[Tensor], sample: Sample) -> dict[str, Array]:
    """A sample of real numbers as a quantised graph's inputs store it."""
    return {
        tensor.name: sample[tensor.name]
        if tensor.quantization is None
        else quantized(sample[tensor.name], tensor, "onnx")
        for tensor in inputs
    }
