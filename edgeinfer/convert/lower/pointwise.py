"""Chains of elementwise operators on one 8-bit tensor, evaluated into one table."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import activation_bounds, quantized_bounds
from edgeinfer.convert.lower.functions import BINARY, UNARY
from edgeinfer.convert.lower.multipliers import add_parameters, product_multiplier
from edgeinfer.convert.lower.quantized import dequantized, quantized
from edgeinfer.convert.lower.tables import all_bytes, apply_unary

Array = npt.NDArray[Any]


def body_table(node: Node, source_format: str) -> Array:
    """The table of a "pointwise" node: attrs["body"] is its list of nodes, in order.

    Every node of the body computes what it would compute on its own, so that fusing changes no
    bit: integers where its tensors are quantised, float32 where the source left them in float.
    """
    x = node.input(0)
    stored: dict[Tensor, Array] = {x: all_bytes(x.dtype)}
    for part in node.attrs["body"]:
        stored[part.output] = _evaluate(part, stored, source_format)
    table = stored[node.output]
    return np.broadcast_to(table, (256,))


def _evaluate(node: Node, stored: dict[Tensor, Array], source_format: str) -> Array:
    operands = []
    for tensor in node.inputs:
        assert tensor is not None
        data = stored.get(tensor) if tensor.data is None else tensor.data.reshape(())
        assert data is not None
        operands.append(data)
    x, y = node.input(0), node.output
    if node.op in UNARY or node.op in ("quantize", "dequantize", "requantize"):
        return apply_unary(node.op, node.attrs, node.activation, operands[0], x, y, source_format)
    a, b = x, node.input(1)
    if all(tensor.quantization is not None for tensor in (a, b, y)):
        return _integers(node, a, operands[0], b, operands[1], source_format)
    reals = [
        data.astype(np.float32) if tensor.quantization is None else dequantized(tensor, data)
        for tensor, data in zip((a, b), operands, strict=True)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        result = BINARY[node.op](*reals).astype(np.float32)
    if y.quantization is not None:
        result = quantized(result, y, source_format)
        return np.clip(result, *quantized_bounds(node.activation, y, source_format)).astype(y.dtype)
    low, high = activation_bounds(node.activation)
    return np.asarray(np.clip(result, low, high) if node.activation is not None else result)


def _integers(
    node: Node, a: Tensor, left: Array, b: Tensor, right: Array, source_format: str
) -> Array:
    """What the runtime's add and mul compute."""
    y = node.output
    assert a.quantization is not None and b.quantization is not None
    assert y.quantization is not None
    scale_a, zero_a = a.quantization.scale[0], int(a.quantization.zero_point[0])
    scale_b, zero_b = b.quantization.scale[0], int(b.quantization.zero_point[0])
    scale_y, zero_y = y.quantization.scale[0], int(y.quantization.zero_point[0])
    left, right = left.astype(np.int64), right.astype(np.int64)
    if node.op in ("maximum", "minimum"):  # one quantisation
        result = BINARY[node.op](left, right)
    elif node.op == "mul":
        multiplier = product_multiplier(scale_a, scale_b, scale_y)
        product = ((left - zero_a) * (right - zero_b)).astype(np.float32)
        result = np.rint((product * multiplier).astype(np.float64)) + zero_y
    else:
        p = add_parameters(scale_a, zero_a, scale_b, zero_b, scale_y, subtract=node.op == "sub")
        result = ((left * p.a_multiplier + right * p.b_multiplier + p.bias) >> p.shift) + zero_y
    bounds = quantized_bounds(node.activation, y, source_format)
    return np.asarray(np.clip(result, *bounds)).astype(y.dtype)
