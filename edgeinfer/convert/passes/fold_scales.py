"""Multiply a constant per channel into the float32 weights beside it.

Batch normalisation at inference is a product and a sum per channel, which frontends write as mul
and add with constants. Behind a convolution or fully_connected the product scales rows of its
weights and its bias; in front of one it scales columns of the weights. (`fuse_bias_adds` takes the
sum.) Products with scalars, as attention and preprocessing have them, go the same way.

Only where the source computes in float32 and nothing else reads what lies between. Products of
constants are made in float64 and rounded once, so the result differs from the source's by rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import absorb_names, constant, only_reader

Reals = npt.NDArray[np.float64]

OUTPUT_AXIS = {"conv2d": 0, "depthwise_conv2d": 2, "transpose_conv2d": 0, "fully_connected": 0}
"""The axis of the weights that is the output channel."""
INPUT_AXIS = {"conv2d": 3, "fully_connected": 1}
"""The axis of the weights that is the input channel, where the operator has one group."""


def fold_scales(graph: Graph) -> bool:
    """Fold every product that can be."""
    changed = False
    producers, readers = graph.producers(), graph.consumers()
    for node in list(graph.nodes):
        if node.op not in ("mul", "div") or node.output.dtype != "float32":
            continue
        for position in (0, 1) if node.op == "mul" else (0,):
            x = node.input(position)
            factors = _factors(node, position)
            if factors is None:
                continue
            producer = producers.get(x)
            if producer is not None and _folds_behind(producer) and _alone(graph, x, node, readers):
                _scale(producer, factors, OUTPUT_AXIS[producer.op], bias=True)
                producer.activation = node.activation
                producer.outputs = [node.output]
                producers[node.output] = producer
                absorb_names(producer, [node])
                graph.nodes.remove(node)
                changed = True
                break
            reader = only_reader(graph, node.output, readers)
            if reader is not None and node.activation is None and _folds_in_front(reader, node):
                _scale(reader, factors, _input_axis(reader), bias=False)
                reader.inputs[0] = x
                readers[x] = [reader if r is node else r for r in readers[x]]
                absorb_names(reader, [node])
                graph.nodes.remove(node)
                changed = True
                break
    return changed


def _alone(graph: Graph, tensor: Tensor, node: Node, readers: dict[Tensor, list[Node]]) -> bool:
    return only_reader(graph, tensor, readers) is node


def _factors(node: Node, position: int) -> Reals | None:
    """What each channel of the last axis of input `position` is multiplied by; None if not that."""
    x, other = node.input(position), node.input(1 - position)
    if other.data is None or other.dtype != "float32" or x.is_constant:
        return None
    if x.shape != node.output.shape or any(extent != 1 for extent in other.shape[:-1]):
        return None
    values = other.data.reshape(-1).astype(np.float64)
    if node.op == "div":
        if np.any(values == 0):
            return None
        values = 1 / values
    if not np.all(np.isfinite(values)) or not x.shape:
        return None
    return np.broadcast_to(values, x.shape[-1:])


def _has_float_weights(node: Node) -> bool:
    if node.op not in OUTPUT_AXIS:
        return False
    for tensor in node.inputs[1:]:
        if tensor is not None and (tensor.data is None or tensor.dtype != "float32"):
            return False
    return True


def _folds_behind(node: Node) -> bool:
    return _has_float_weights(node) and node.activation is None


def _folds_in_front(node: Node, product: Node) -> bool:
    if not _has_float_weights(node) or node.input(0) is not product.output:
        return False
    if node.op == "depthwise_conv2d":
        return node.input(1).shape[2] == node.input(0).shape[3]
    return node.op in INPUT_AXIS and node.attrs.get("groups", 1) == 1


def _input_axis(node: Node) -> int:
    return 2 if node.op == "depthwise_conv2d" else INPUT_AXIS[node.op]


def _scale(node: Node, factors: Reals, axis: int, *, bias: bool) -> None:
    w = node.input(1)
    assert w.data is not None
    shape = [-1 if i == axis else 1 for i in range(len(w.shape))]
    scaled = w.data.astype(np.float64) * factors.reshape(shape)
    node.inputs[1] = constant(w.name, scaled.astype(np.float32))
    b = node.inputs[2] if len(node.inputs) > 2 else None
    if bias and b is not None and b.data is not None:
        shifted = b.data.reshape(-1).astype(np.float64) * factors
        node.inputs[2] = constant(b.name, shifted.astype(np.float32))
