"""Store uint8 tensors as int8: the runtime computes on int8 only.

Subtracting 128 from every integer and from the zero point leaves the real numbers as they are.
Graph inputs and outputs stay uint8, since callers hold such data; a requantize converts them,
unless the operator at the boundary reads or writes uint8 itself.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor
from edgeinfer.convert.lower.functions import UNARY
from edgeinfer.convert.passes.edit import insert_after

READ_BYTES = UNARY | {"requantize", "dequantize"}
"""Operators that take uint8 as well as int8."""
WRITE_BYTES = UNARY | {"requantize", "quantize", "softmax"}
"""Operators that make uint8 as well as int8."""


def convert_uint8(graph: Graph) -> bool:
    """Convert every quantised uint8 tensor."""
    boundary = {
        id(tensor)
        for tensor in [*graph.inputs, *graph.outputs]
        if not tensor.is_constant and _is_quantized_uint8(tensor)
    }
    inside = [
        tensor
        for tensor in graph.tensors()
        if _is_quantized_uint8(tensor) and id(tensor) not in boundary
    ]
    for tensor in inside:
        shifted = _shifted(tensor)
        tensor.dtype, tensor.quantization, tensor.data = (
            "int8",
            shifted.quantization,
            shifted.data,
        )
    changed = bool(inside)
    for tensor in list(dict.fromkeys(graph.inputs)):
        if id(tensor) in boundary:
            changed = _convert_input(graph, tensor) or changed
    for tensor in list(dict.fromkeys(graph.outputs)):
        if id(tensor) in boundary and tensor not in graph.inputs:
            changed = _convert_output(graph, tensor) or changed
    return changed


def _is_quantized_uint8(tensor: Tensor) -> bool:
    return tensor.dtype == "uint8" and tensor.quantization is not None


def _shifted(tensor: Tensor) -> Tensor:
    assert tensor.quantization is not None
    quantization = Quantization(
        tensor.quantization.scale, tensor.quantization.zero_point - 128, tensor.quantization.axis
    )
    data = None
    if tensor.data is not None:
        data = (tensor.data.astype(np.int16) - 128).astype(np.int8)
    return Tensor(f"{tensor.name} (int8)", tensor.shape, "int8", quantization, data)


def _convert_input(graph: Graph, tensor: Tensor) -> bool:
    readers = [node for node in graph.consumers().get(tensor, []) if node.op not in READ_BYTES]
    if not readers:
        return False
    shifted = _shifted(tensor)
    for node in readers:
        node.inputs = [shifted if operand is tensor else operand for operand in node.inputs]
    graph.nodes.insert(0, Node("requantize", [tensor], [shifted], name=f"{tensor.name} (int8)"))
    return True


def _convert_output(graph: Graph, tensor: Tensor) -> bool:
    readers = graph.consumers().get(tensor, [])
    producer = graph.producers()[tensor]
    if producer.op in WRITE_BYTES and all(node.op in READ_BYTES for node in readers):
        return False
    shifted = _shifted(tensor)
    producer.outputs = [shifted if made is tensor else made for made in producer.outputs]
    for node in readers:
        node.inputs = [shifted if operand is tensor else operand for operand in node.inputs]
    insert_after(
        graph, producer, Node("requantize", [shifted], [tensor], name=f"{tensor.name} (uint8)")
    )
    return True
