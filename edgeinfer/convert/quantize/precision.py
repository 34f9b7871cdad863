"""Which nodes can compute on integers, and why the others stay in float32."""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.functions import UNARY
from edgeinfer.convert.quantize.quantize_weights import CHANNEL_AXIS
from edgeinfer.convert.quantize.share_ranges import moves

COMPUTES = frozenset(
    {
        *CHANNEL_AXIS,
        *UNARY,
        "batch_matmul",
        "add",
        "sub",
        "mul",
        "prelu",
        "avg_pool2d",
        "mean",
        "sum",
        "softmax",
        "argmax",
        "argmin",
    }
)
"""Operators with INT8 kernels whose operands and results have quantisations of their own."""
NOT_INT16 = frozenset({"prelu", "reduce_min"})
"""Operators with INT8 kernels, but none for int16."""


MASK = -1e4
"""Constants from here on are masks: exp of the difference to any score is 0."""


def is_numeric(node: Node) -> bool:
    """Whether the node reads or makes float32 at run time; others are left as they are."""
    tensors = [*node.inputs, *node.outputs]
    return any(t is not None and t.dtype == "float32" and not t.is_constant for t in tensors)


def float_reason(node: Node) -> str:
    """Why the node cannot compute on integers; "" if it can."""
    if node.op not in COMPUTES and not moves(node):
        return f"there is no INT8 kernel for {node.op}"
    if node.op in CHANNEL_AXIS:
        return _weights_reason(node)
    if node.op == "resize" and (node.attrs["mode"] == "cubic" or node.attrs.get("antialias")):
        return "cubic and antialiased resizing have no INT8 kernel"
    if node.op == "avg_pool2d" and tuple(node.attrs.get("dilations") or (1, 1)) != (1, 1):
        return "average pools with gaps have no INT8 kernel"
    if node.op == "prelu":
        return _prelu_reason(node)
    for tensor in node.inputs:
        if tensor is None or tensor.data is None or tensor.dtype != "float32":
            continue
        if tensor.data.size == 0 or not np.all(np.isfinite(tensor.data)):
            return f"its constant {tensor.name!r} is not finite"
    return ""


def _weights_reason(node: Node) -> str:
    for role, tensor in zip(("weights", "bias"), node.inputs[1:], strict=False):
        if tensor is None:
            continue
        if tensor.data is None:
            return f"its {role} are computed at run time"
        if not np.all(np.isfinite(tensor.data)):
            return f"its {role} are not finite"
    return ""


def _prelu_reason(node: Node) -> str:
    slope = node.input(1)
    if slope.data is None or not np.all(np.isfinite(slope.data)):
        return "its slopes are not finite constants"
    if slope.data.size > 1 and any(extent != 1 for extent in slope.shape[:-1]):
        return "its slopes vary along other axes than the last"
    return "" if node.activation is None else "it has a fused activation"


def masked_tensors(graph: Graph) -> set[Tensor]:
    """Tensors that hold a mask's numbers: -1e9 and the like where attention must not look.

    Integers whose range reached there would have steps of millions. A mask comes in by a constant
    of an add or where, and is gone behind what computes with it next: softmax.
    """
    masked: set[Tensor] = set()
    for node in graph.nodes:
        brings = node.op in ("add", "sub", "where") and any(map(_is_mask, node.inputs))
        if brings or (moves(node) and any(t in masked for t in node.inputs if t is not None)):
            masked.update(node.outputs)
    return masked


def _is_mask(tensor: Tensor | None) -> bool:
    if tensor is None or tensor.data is None or tensor.dtype != "float32":
        return False
    return bool(tensor.data.size and tensor.data.min() <= MASK)


def first_reader_that_computes(graph: Graph, tensor: Tensor) -> Node | None:
    """The first node behind a tensor, through moves, that computes; None if none does."""
    readers = graph.consumers()
    pending, seen = [tensor], {tensor}
    while pending:
        for node in readers.get(pending.pop(0), []):
            if not moves(node):
                return node
            for made in node.outputs:
                if made not in seen:
                    seen.add(made)
                    pending.append(made)
    return None
