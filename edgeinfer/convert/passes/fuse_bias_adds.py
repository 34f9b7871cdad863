"""Let a convolution or fully_connected add a constant per output channel as its bias.

A float32 bias that it has already takes the constant in: both are added in float64, rounded once.

Only where the source leaves the sum in float32 between the two: a quantised intermediate rounds.
The bias stays float32 here; lowering rounds it to the accumulator's scale, which is finer than
that of the output by orders of magnitude.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.quantized import dequantized
from edgeinfer.convert.passes.edit import absorb_names, constant, only_reader

TAKES_BIAS = ("conv2d", "depthwise_conv2d", "transpose_conv2d", "fully_connected")


def fuse_bias_adds(graph: Graph) -> bool:
    """Fuse every add and sub that is a bias."""
    changed = False
    producers, readers = graph.producers(), graph.consumers()
    for node in list(graph.nodes):
        if node.op not in ("add", "sub"):
            continue
        for position in (0, 1) if node.op == "add" else (0,):
            x, addend = node.input(position), node.input(1 - position)
            producer = producers.get(x)
            if producer is None or not _takes_bias(producer):
                continue
            if x.dtype != "float32" or only_reader(graph, x, readers) is not node:
                continue
            bias = _bias(addend, x.shape, node.output.shape)
            if bias is None:
                continue
            if node.op == "sub":
                bias = -bias
            own = producer.inputs[2] if len(producer.inputs) > 2 else None
            if own is not None and own.data is not None:
                both = own.data.reshape(-1).astype(np.float64) + bias
                bias = both.astype(np.float32)
            producer.inputs = [*producer.inputs[:2], constant(addend.name, bias)]
            producer.activation = node.activation
            producer.outputs = [node.output]
            producers[node.output] = producer
            absorb_names(producer, [node])
            graph.nodes.remove(node)
            changed = True
            break
    return changed


def _takes_bias(node: Node) -> bool:
    if node.op not in TAKES_BIAS or node.activation is not None:
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return True
    weights_are_float = node.input(1).dtype == "float32"
    return bias.data is not None and bias.dtype == "float32" and weights_are_float


def _bias(
    addend: Tensor, shape: tuple[int, ...], result: tuple[int, ...]
) -> npt.NDArray[np.float32] | None:
    """The addend as one float32 value per channel of the last axis, if it is that."""
    if addend.data is None or shape != result:
        return None
    if any(extent != 1 for extent in addend.shape[:-1]):
        return None
    if addend.quantization is not None:
        values = dequantized(addend, addend.data)
    elif addend.dtype == "float32":
        values = addend.data
    else:
        return None
    return np.array(np.broadcast_to(values.reshape(-1), shape[-1:]), np.float32)
