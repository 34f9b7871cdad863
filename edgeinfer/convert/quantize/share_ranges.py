"""Which activations must be stored alike, and the range that they share.

Operators that only move or pick values (reshape, max_pool2d, concat, resize and so on) have
integers of one quantisation on both sides. Their operands and results form groups, found by union;
a group's range is the union of its members' ranges.

An operand of concat, maximum or minimum joins only if that costs nobody much: it has no other
reader, or its range is at least half of the group's. Otherwise it is requantised on its way in, so
that its other readers keep the finer steps.

Softmax and sigmoid have the range of their function, [0, 1) in steps of 1/256, and tanh [-1, 1) in
steps of 1/128, whatever calibration saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.activations import activation_bounds
from edgeinfer.convert.passes.propagate_quantization import MOVES
from edgeinfer.convert.quantize.ranges import Range

FIXED = {
    "softmax": Range(0.0, 255 / 256),
    "sigmoid": Range(0.0, 255 / 256),
    "tanh": Range(-1.0, 127 / 128),
}
MERGES = ("concat", "maximum", "minimum")
"""Moving operators of several operands."""
MOST_COARSENING = 2.0
"""An operand with other readers joins a group at most this much wider than itself."""
FARTHEST_PAD = 4.0
"""A pad value this many times beyond the range saturates, rather than widen the range."""


def moves(node: Node) -> bool:
    """Whether the node's float32 operands and results share one quantisation."""
    return node.op in MOVES or node.op == "resize"


def data_operands(node: Node) -> list[Tensor]:
    """The operands whose values a moving node moves: all but indices."""
    operands = [tensor for tensor in node.inputs if tensor is not None]
    return operands[:1] if node.op in ("gather", "resize", "pad") else operands


@dataclass(eq=False)
class SharedRanges:
    """Groups of tensors with one range each."""

    parents: dict[Tensor, Tensor] = field(default_factory=dict)
    ranges: dict[Tensor, Range] = field(default_factory=dict)

    def root(self, tensor: Tensor) -> Tensor:
        """The tensor that stands for the group."""
        while tensor in self.parents:
            tensor = self.parents[tensor]
        return tensor

    def range_of(self, tensor: Tensor) -> Range:
        """The range of the tensor's group."""
        return self.ranges[self.root(tensor)]

    def join(self, a: Tensor, b: Tensor) -> None:
        """Make one group of two."""
        first, second = self.root(a), self.root(b)
        if first is not second:
            joined = self.ranges[first].joined(self.ranges[second])
            self.parents[second] = first
            self.ranges[first] = joined


def share_ranges(graph: Graph, ranges: Mapping[str, Range]) -> SharedRanges:
    """Groups and ranges of every float32 tensor of a prepared graph."""
    shared = SharedRanges()
    producers = graph.producers()
    for tensor in graph.tensors():
        if tensor.dtype == "float32":
            shared.ranges[tensor] = _own_range(tensor, producers.get(tensor), ranges)
    moving = [node for node in graph.nodes if moves(node) and node.output.dtype == "float32"]
    for node in moving:
        if node.op not in MERGES:
            _include_pad(node, shared)
            for operand in data_operands(node):
                shared.join(node.output, operand)
    readers = graph.consumers()
    for node in moving:
        if node.op in MERGES:
            for operand in data_operands(node):
                if _may_join(node, operand, shared, len(readers[operand]), graph):
                    shared.join(node.output, operand)
    return shared


def constant_range(tensor: Tensor) -> Range:
    """The range of a constant's finite values."""
    assert tensor.data is not None
    finite = tensor.data[np.isfinite(tensor.data)]
    return Range.of(finite.min(), finite.max()) if finite.size else Range(0.0, 0.0)


def _own_range(tensor: Tensor, producer: Node | None, ranges: Mapping[str, Range]) -> Range:
    if tensor.is_constant:
        return constant_range(tensor)
    if producer is None:
        return ranges[tensor.name]
    if producer.op in FIXED and producer.activation is None:
        return FIXED[producer.op]
    found = ranges[tensor.name]
    low, high = activation_bounds(producer.activation)
    return Range.of(
        found.low if low is None else max(found.low, min(low, 0.0)),
        found.high if high is None else min(found.high, max(high, 0.0)),
    )


def _include_pad(node: Node, shared: SharedRanges) -> None:
    if node.op != "pad" or node.attrs["mode"] != "constant":
        return
    value = float(node.attrs.get("value") or 0.0)
    root = shared.root(node.output)
    found = shared.ranges[root]
    if abs(value) <= FARTHEST_PAD * found.width:
        shared.ranges[root] = found.joined(Range.of(value, value))


def _may_join(
    node: Node, operand: Tensor, shared: SharedRanges, readers: int, graph: Graph
) -> bool:
    if operand.is_constant or (readers == 1 and operand not in graph.inputs):
        return True
    joined = shared.range_of(operand).joined(shared.range_of(node.output))
    return joined.width <= MOST_COARSENING * shared.range_of(operand).width
