"""Which layers' output channels can be removed, and all that has to change with them.

From a convolution or fully connected layer the channels are followed through what handles each by
itself: elementwise functions, pools, depthwise convolutions, means over space, and reshapes, behind
which channel c is found at c, c + C, c + 2C and so on. They end in layers that sum over them; the
channels can be removed if they end there on every path. A layer whose channels meet others on the
way (residual additions, concatenations), or reach an output of the model, is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor

Ints = npt.NDArray[np.int64]

MAKERS = ("conv2d", "fully_connected")
ELEMENTWISE = frozenset(
    {
        *("relu", "relu6", "leaky_relu", "clip", "sigmoid", "tanh", "hard_swish", "hard_sigmoid"),
        *("elu", "gelu", "silu", "exp", "log", "sqrt", "rsqrt", "abs", "neg", "square"),
        *("softplus", "erf", "selu", "celu", "mish", "softsign"),
    }
)
BY_CHANNEL = frozenset({"max_pool2d", "avg_pool2d", "resize"})
REDUCTIONS = frozenset({"mean", "sum", "reduce_max", "reduce_min"})


@dataclass(eq=False)
class ChannelGroup:
    """A layer, what its channels pass, and who sums over them."""

    maker: Node
    tensors: list[Tensor] = field(default_factory=list)
    carriers: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)

    @property
    def channels(self) -> int:
        """How many the layer makes."""
        return self.maker.output.shape[-1]


def channel_groups(graph: Graph) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Groups in the order of the graph; why each other layer is left alone, by its output's name.

    A group's readers come behind its maker, so what one group's removal changes are the inputs of
    the layers of later groups only.
    """
    consumers = graph.consumers()
    found, left = [], {}
    for node in graph.nodes:
        if node.op not in MAKERS:
            continue
        group = ChannelGroup(node)
        reason = "its weights are not constants" if not _has_constants(node) else ""
        if not reason and node.attrs.get("groups", 1) != 1:
            reason = "its convolution is grouped"
        reason = reason or _follow(group, graph, consumers)
        if reason:
            left[node.output.name] = reason
        else:
            found.append(group)
    return found, left


def spread(kept: Ints, channels: int, extent: int) -> Ints:
    """Where kept channels lie on an axis of `extent` numbers, channel c at c + n * channels."""
    return (np.arange(0, extent, channels)[:, None] + kept).reshape(-1)


def _follow(group: ChannelGroup, graph: Graph, consumers: Mapping[Tensor, list[Node]]) -> str:
    """Fill the group; why that is not possible, "" where it is."""
    waiting = [group.maker.output]
    while waiting:
        tensor = waiting.pop(0)
        group.tensors.append(tensor)
        if tensor in graph.outputs:
            return "its channels are an output of the model"
        for node in consumers.get(tensor, []):
            if _sums_over(node, tensor):
                group.readers.append(node)
            elif _carries(node, tensor, group.channels):
                group.carriers.append(node)
                waiting.append(node.output)
            else:
                return f"its channels meet others in {node.op} {node.outputs[0].name!r}"
    return "" if group.readers else "nothing reads it"


def _sums_over(node: Node, tensor: Tensor) -> bool:
    is_layer = node.op in MAKERS and node.attrs.get("groups", 1) == 1
    return is_layer and node.inputs[0] is tensor and _has_constants(node)


def _has_constants(node: Node) -> bool:
    return all(t is None or (t.data is not None and t.dtype == "float32") for t in node.inputs[1:])


def _carries(node: Node, tensor: Tensor, channels: int) -> bool:
    """Whether each channel passes the node by itself."""
    if node.inputs[0] is not tensor or len(node.outputs) != 1 or node.output.dtype != "float32":
        return False
    if node.op == "depthwise_conv2d":
        return _has_constants(node) and node.input(1).shape[2] == tensor.shape[-1]
    if len(node.inputs) != 1:
        return False
    if node.op in ELEMENTWISE or node.op in BY_CHANNEL:
        return True
    last = len(tensor.shape) - 1
    if node.op in REDUCTIONS:
        return last not in node.attrs["axes"]
    if node.op == "pad":
        return bool(node.attrs["before"][last] == node.attrs["after"][last] == 0)
    shape = node.output.shape
    return node.op == "reshape" and bool(shape) and shape[-1] % channels == 0
