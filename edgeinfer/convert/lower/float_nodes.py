"""Which nodes compute in float32, and how their quantised operands and results become float32."""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower import unary
from edgeinfer.convert.lower.activations import CLAMPS
from edgeinfer.convert.lower.lowering import Lowering
from edgeinfer.convert.lower.quantized import dequantized

MOVES = ("concat", "gather", "pad", "reshape", "slice", "transpose", "argmax", "argmin")
"""Operators that run on float32 as they do on integers, since they compute nothing."""
CONVERSIONS = ("quantize", "dequantize", "requantize")
FLOAT_RESULTS = frozenset({*unary.HANDLERS, "softmax"})
"""Operators that make float32 of quantised operands by integer arithmetic or a table."""


def is_float(node: Node) -> bool:
    """Whether the node's arithmetic is on float32: it reads or makes such a tensor at run time."""
    if node.op in (*MOVES, *CONVERSIONS, "custom", "unsupported"):
        return False  # a custom operator says itself what it computes on
    read = [tensor for tensor in node.inputs if tensor is not None and not tensor.is_constant]
    reads = any(tensor.dtype == "float32" for tensor in read)
    makes = any(tensor.dtype == "float32" for tensor in node.outputs)
    if reads and not makes:  # a clamp on the way into integers is part of the quantize
        return node.op not in CLAMPS or node.output.quantization is None
    if makes and not reads and any(tensor.quantization is not None for tensor in read):
        return node.op not in FLOAT_RESULTS
    return reads or makes


def in_float(node: Node, lowering: Lowering) -> tuple[Node, list[Node]]:
    """The node between float32 tensors, and the quantize nodes that have to follow it.

    Dequantize operations are emitted for what it reads; a tensor has one for all of its readers.
    """
    inputs = [tensor and dequantized_operand(tensor, node, lowering) for tensor in node.inputs]
    outputs: list[Tensor] = []
    after: list[Node] = []
    for tensor in node.outputs:
        if tensor.quantization is None:
            outputs.append(tensor)
            continue
        made, quantize = quantized_behind(tensor, node)
        outputs.append(made)
        after.append(quantize)
    between = Node(
        node.op,
        inputs,
        outputs,
        node.attrs,
        node.activation,
        node.name,
        node.source,
        node.absorbed,
        node.float_reason,
    )
    return between, after


def quantized_behind(tensor: Tensor, node: Node) -> tuple[Tensor, Node]:
    """A float32 tensor in the place of a quantised result, and the quantize."""
    made = Tensor(f"{tensor.name} (float32)", tensor.shape, "float32")
    quantize = Node("quantize", [made], [tensor], {}, None, node.name, node.source, node.absorbed)
    return made, quantize


def dequantized_operand(tensor: Tensor, node: Node, lowering: Lowering) -> Tensor:
    """An operand as float32; a dequantize is emitted for a quantised one that has none yet."""
    if tensor.quantization is None:
        return tensor
    found = lowering.dequantized.get(tensor)
    if found is not None:
        return found
    data = None if tensor.data is None else np.asarray(dequantized(tensor, tensor.data))
    result = Tensor(f"{tensor.name} (float32)", tensor.shape, "float32", None, data)
    if data is None:
        convert = Node("dequantize", [tensor], [result], {}, None, node.name, node.source)
        unary.lower_dequantize(convert, lowering)
    lowering.dequantized[tensor] = result
    return result
