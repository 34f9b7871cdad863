"""Cross-layer equalisation: channels of one activation brought to like ranges.

An activation has one scale, so a channel whose values are a hundredth of the widest one's keeps two
bits. Between a layer that makes an activation and the layers that read it, channel i may be divided
by s[i] if the readers' weights of that channel are multiplied by it: what the network computes
stays the same, since everything in between (relu, pools, residual additions) is homogeneous. (M.
Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019.)

Which activations. Tensors that share channels through such operators form a group. A group can be
scaled if all that makes its tensors and all that reads them are layers with weights. So residual
streams are scaled as a whole, and groups at graph inputs and outputs stay. A relu6 (or clip from 0)
counts as relu where calibration never saw its upper bound reached; it becomes a relu then.

By how much. Weights have a scale per output channel, so only two errors depend on s: the step of
the activation, as the readers' weights multiply it, and the steps of the readers' weights. The
published choice balances the ranges of two weight tensors; here candidates s = a^alpha / r^beta,
with a the largest activation and r the weight of each channel with the readers, are judged by both
errors, relative to the readers' outputs, and the best is taken; a reader's weights count relative
to the power of the output that they belong to, since its scale is its own. s = 1 is among them, so
a group whose channels are alike stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import constant, copied
from edgeinfer.convert.passes.fold_scales import INPUT_AXIS, OUTPUT_AXIS
from edgeinfer.convert.quantize.observe import Extremes, Observed

Reals = npt.NDArray[np.float64]

CARRIES = frozenset(
    {
        "relu",
        "leaky_relu",
        "max_pool2d",
        "avg_pool2d",
        "mean",
        "sum",
        "reduce_max",
        "resize",
        "pad",
        "reshape",
        "transpose",
        "slice",
        "add",
        "sub",
        "maximum",
        "minimum",
    }
)
"""Operators f with f(x / s) = f(x) / s, where they leave the last axis alone."""
CANDIDATES = ((1.0, 0.0), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.5, 0.0), (0.25, 0.0))
"""(alpha, beta) that are tried beside (0, 0)."""
LEAST_GAIN = 0.95
"""A group is scaled only if the predicted error becomes this part of what it was, or less."""
DEAD = 1e-6
"""Channels below this part of the largest one keep s = 1."""


@dataclass(eq=False)
class Equalization:
    """An equalised graph, and what became of each tensor.

    Attributes
    ----------
    graph : computes what the given graph computes, but for rounding. Names are the same.
    scales : for every tensor that was scaled, what its channels (last axis) were divided by.
    """

    graph: Graph
    scales: dict[str, Reals] = field(default_factory=dict)


@dataclass(eq=False)
class _Group:
    tensors: list[Tensor] = field(default_factory=list)
    makers: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)
    carriers: list[Node] = field(default_factory=list)
    is_fixed: bool = False


def equalize(graph: Graph, extremes: Mapping[str, Extremes]) -> Equalization:
    """Equalise every group that gains from it; the graph given is not changed."""
    result = Equalization(copied(graph))
    for group in _groups(result.graph, extremes):
        scale = _best_scale(group, extremes)
        if scale is not None:
            _apply(group, scale)
            result.scales.update({tensor.name: scale for tensor in group.tensors})
    return result


def scaled(observed: Observed, scales: Mapping[str, Reals]) -> Observed:
    """What would have been observed of the equalised graph."""
    extremes, means = dict(observed.extremes), dict(observed.means)
    for name, scale in scales.items():
        found = extremes[name]
        extremes[name] = Extremes(
            (found.low / scale).astype(np.float32), (found.high / scale).astype(np.float32)
        )
        if name in means:
            means[name] = means[name] / scale
    return Observed(extremes, means)


# --- which tensors share channels


def _groups(graph: Graph, extremes: Mapping[str, Extremes]) -> list[_Group]:
    """Groups that can be scaled, in the order of the graph."""
    parents: dict[Tensor, Tensor] = {}

    def root(tensor: Tensor) -> Tensor:
        while tensor in parents:
            tensor = parents[tensor]
        return tensor

    for node in graph.nodes:
        if _carries(node):
            for operand in node.inputs:
                if operand is not None and root(operand) is not root(node.output):
                    parents[root(operand)] = root(node.output)
    groups: dict[Tensor, _Group] = {}
    for tensor in graph.tensors():
        if tensor.dtype == "float32" and tensor.shape:
            group = groups.setdefault(root(tensor), _Group())
            group.tensors.append(tensor)
            group.is_fixed |= tensor.is_constant or tensor in graph.inputs
            group.is_fixed |= tensor in graph.outputs or tensor.name not in extremes
    for node in graph.nodes:
        _note(node, groups, root, extremes)
    return [g for g in groups.values() if not g.is_fixed and g.makers and g.readers]


def _note(
    node: Node,
    groups: Mapping[Tensor, _Group],
    root: Callable[[Tensor], Tensor],
    extremes: Mapping[str, Extremes],
) -> None:
    """Enter a node as maker and reader of its groups, or fix those that it stops."""
    carries = _carries(node)
    for position, tensor in enumerate(node.inputs):
        group = None if tensor is None else groups.get(root(tensor))
        if group is None or carries:
            continue
        if position == 0 and _reads_by_channel(node):
            group.readers.append(node)
        else:
            group.is_fixed = True
    for tensor in node.outputs:
        group = groups.get(root(tensor))
        if group is None:
            continue
        if not _is_homogeneous(node, extremes):
            group.is_fixed = True
        elif carries:
            group.carriers.append(node)
        elif node.op in OUTPUT_AXIS and _has_constants(node):
            group.makers.append(node)
        else:
            group.is_fixed = True


def _carries(node: Node) -> bool:
    """Whether channels of the last axis pass the node by themselves, homogeneously."""
    if node.op not in CARRIES or len(node.outputs) != 1:
        return False
    y = node.output
    operands = [tensor for tensor in node.inputs if tensor is not None]
    if node.op in ("add", "sub", "maximum", "minimum"):
        alike = all(t.shape and t.shape[-1] == y.shape[-1] and not t.is_constant for t in operands)
        return bool(y.shape) and alike
    x = operands[0]
    rank = len(x.shape)
    if not x.shape or not y.shape or x.shape[-1] != y.shape[-1]:
        return False
    if node.op in ("mean", "sum", "reduce_max"):
        return rank - 1 not in node.attrs["axes"]
    if node.op == "transpose":
        return bool(node.attrs["perm"][-1] == rank - 1)
    if node.op == "slice":
        return bool(node.attrs["begin"][-1] == 0 and node.attrs["strides"][-1] == 1)
    if node.op == "pad":
        return node.attrs["mode"] != "constant" or not node.attrs.get("value")
    return True


def _is_homogeneous(node: Node, extremes: Mapping[str, Extremes]) -> bool:
    """Whether the fused activation allows scaling, as calibration saw it."""
    if node.activation in (None, "relu"):
        return True
    bound = _upper_bound(node)
    found = extremes.get(node.outputs[0].name)
    return bound is not None and found is not None and found.span[1] < bound


def _upper_bound(node: Node) -> float | None:
    """b of an activation that clamps to [0, b]."""
    if node.activation == "relu6":
        return 6.0
    if isinstance(node.activation, tuple):
        _, low, high = node.activation
        return high if low == 0 else None
    return None


def _has_constants(node: Node) -> bool:
    return all(t is None or (t.data is not None and t.dtype == "float32") for t in node.inputs[1:])


def _reads_by_channel(node: Node) -> bool:
    if not _has_constants(node):
        return False
    if node.op == "depthwise_conv2d":
        return node.input(1).shape[2] == node.input(0).shape[3]
    return node.op in INPUT_AXIS and node.attrs.get("groups", 1) == 1


# --- by how much


def _best_scale(group: _Group, extremes: Mapping[str, Extremes]) -> Reals | None:
    largest = np.zeros(group.tensors[0].shape[-1])
    for tensor in group.tensors:
        found = extremes[tensor.name]
        largest = np.maximum(largest, np.maximum(-found.low, found.high).astype(np.float64))
    if largest.max() <= 0:
        return None
    alive = largest > DEAD * largest.max()
    weights = np.sqrt(np.sum([_weight_of(node, extremes) for node in group.readers], axis=0))
    alive &= weights > DEAD * weights.max(initial=0)
    if alive.sum() < 2:
        return None
    before = best = _error(group, np.ones(largest.size), extremes)
    chosen = None
    for alpha, beta in CANDIDATES:
        logs = alpha * np.log(np.where(alive, largest, 1))
        logs -= beta * np.log(np.where(alive, weights, 1))
        scale = np.exp(np.where(alive, logs - logs[alive].mean(), 0.0))
        error = _error(group, scale, extremes)
        if error < best:
            best, chosen = error, scale
    return chosen if best <= LEAST_GAIN * before else None


def _squares(node: Node) -> Reals:
    """Squares of a reader's weights, summed over taps: [outputs, channels]."""
    w = node.input(1)
    assert w.data is not None
    data = w.data.astype(np.float64)
    if node.op == "depthwise_conv2d":
        return np.asarray((data**2).sum(axis=(0, 1)))[None]
    flat = np.moveaxis(data, INPUT_AXIS[node.op], -1).reshape(data.shape[0], -1, data.shape[-1])
    return np.asarray((flat**2).sum(axis=1))


def _power(found: Extremes) -> Reals:
    """Mean squares of channels, taken as spread with a third of their largest as deviation."""
    return np.asarray((np.maximum(-found.low, found.high).astype(np.float64) / 3) ** 2)


def _weight_of(node: Node, extremes: Mapping[str, Extremes]) -> Reals:
    """How much each channel counts to a reader: squared weights relative to outputs' power.

    Each output is taken by itself, so that outputs that are themselves scaled badly count alike.
    """
    squares = _squares(node)
    signal = squares * _power(extremes[node.input(0).name])
    if node.op != "depthwise_conv2d":
        signal = signal.sum(axis=1, keepdims=True)
    relative = np.divide(squares, signal, out=np.zeros_like(squares), where=signal > 0)
    return np.asarray(relative.mean(axis=0))


def _error(group: _Group, scale: Reals, extremes: Mapping[str, Extremes]) -> float:
    """Predicted noise of the readers' outputs, relative to what they compute, summed over them."""
    total = 0.0
    for node in group.readers:
        found = extremes[node.input(0).name]
        low, high = found.low / scale, found.high / scale
        step = (max(float(high.max()), 0.0) - min(float(low.min()), 0.0)) / 255
        power, squares = _power(found), _squares(node)
        signal = squares * power
        noise = step**2 * squares * scale**2
        if node.op != "depthwise_conv2d":
            signal, noise = signal.sum(axis=1), noise.sum(axis=1)
            noise = noise + _weight_noise(node, scale, power)
        alive = signal > 0
        total += float(np.mean(noise[alive] / signal[alive])) if np.any(alive) else 0.0
    return total


def _weight_noise(node: Node, scale: Reals, power: Reals) -> Reals:
    w = node.input(1)
    assert w.data is not None
    axis = INPUT_AXIS[node.op]
    shape = [-1 if i == axis else 1 for i in range(len(w.shape))]
    scaled = np.abs(w.data.astype(np.float64) * scale.reshape(shape))
    steps = scaled.reshape(w.shape[0], -1).max(axis=1) / 127
    taps = scaled[0].size / scale.size
    return np.asarray(steps**2 * taps * (power / scale**2).sum())


def _apply(group: _Group, scale: Reals) -> None:
    for node in (*group.makers, *group.carriers):
        if _upper_bound(node) is not None:
            node.activation = "relu"
    for node in group.makers:
        _multiply(node, 1, OUTPUT_AXIS[node.op], 1 / scale)
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            _multiply(node, 2, len(node.input(2).shape) - 1, 1 / scale)
    for node in group.readers:
        axis = 2 if node.op == "depthwise_conv2d" else INPUT_AXIS[node.op]
        _multiply(node, 1, axis, scale)


def _multiply(node: Node, position: int, axis: int, factors: Reals) -> None:
    tensor = node.input(position)
    assert tensor.data is not None
    shape = [-1 if i == axis else 1 for i in range(len(tensor.shape))]
    scaled = tensor.data.astype(np.float64) * factors.reshape(shape)
    node.inputs[position] = constant(tensor.name, scaled.astype(np.float32))
