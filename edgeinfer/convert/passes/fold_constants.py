"""Compute at conversion what depends on constants alone.

Shapes and indices, weights that are reshaped or transposed, constants stored in another
quantisation, and arithmetic on float32 constants (in float32). A dequantize of a constant is left
to the operators behind it, which take the quantised constant, and folded only where none can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.activations import activation_bounds
from edgeinfer.convert.lower.functions import BINARY, UNARY, unary_float32
from edgeinfer.convert.lower.quantized import dequantized, quantized, requantized
from edgeinfer.convert.passes.edit import constant, same_type
from edgeinfer.convert.passes.propagate_quantization import moved_quantization, moves

Array = npt.NDArray[Any]

MAX_ELEMENTS = 1 << 26
"""Larger results stay computed on the device, to bound the file: a constant of 64 Mi elements."""


def fold_constants(graph: Graph) -> bool:
    """Replace nodes of constant operands by constants; return whether one went."""
    changed = False
    readers = graph.consumers()
    for node in list(graph.nodes):
        if len(node.outputs) != 1 or not node.inputs:
            continue
        if any(tensor is None or not tensor.is_constant for tensor in node.inputs):
            continue
        if int(np.prod(node.output.shape, dtype=np.int64)) > MAX_ELEMENTS:
            continue
        if node.op == "dequantize" and any(moves(n) for n in readers.get(node.output, [])):
            continue
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            data = evaluate(node, graph.source_format)
        if data is None:
            continue
        result = node.output
        graph.nodes.remove(node)
        graph.replace_input(result, constant(result.name, data, result.quantization))
        changed = True
    return changed


def evaluate(node: Node, source_format: str) -> Array | None:
    """The value of a node whose inputs are all constant, or None where this cannot be told."""
    operands = [tensor.data for tensor in node.inputs if tensor is not None]
    arrays = [data for data in operands if data is not None]
    x, y = node.input(0), node.output
    if node.op in _MOVED:
        return _moved(node, arrays)
    if node.activation is None and x.data is not None:
        if node.op == "dequantize":
            return dequantized(x, x.data)
        if node.op == "quantize" and x.dtype == "float32":
            return quantized(x.data, y, source_format)
        if node.op == "requantize":
            return requantized(x, x.data, y, source_format)
    if any(tensor.quantization is not None for tensor in [x, y]):
        return None
    if node.op in BINARY and len({str(a.dtype) for a in arrays}) == 1:
        result = BINARY[node.op](*arrays)
    elif node.op in UNARY and y.dtype == "float32":
        result = unary_float32(node.op, node.attrs, arrays[0])
    else:
        return None
    low, high = activation_bounds(node.activation)
    if low is not None or high is not None:
        result = np.clip(result, low, high)
    return np.asarray(result).astype(y.dtype).reshape(y.shape)


def _moved(node: Node, arrays: list[Array]) -> Array | None:
    first, y = node.input(0), node.output
    data_operands: list[Tensor] = (
        [first] if node.op == "gather" else [tensor for tensor in node.inputs if tensor is not None]
    )
    if any(tensor.dtype != y.dtype for tensor in data_operands):
        return None
    if y.quantization is not None:
        quantization = moved_quantization(node, data_operands)
        if quantization is None or not quantization.same_as(y.quantization):
            return None
    elif not all(same_type(tensor, y) for tensor in data_operands):
        return None
    return _MOVED[node.op](node, arrays)


def _slice(node: Node, arrays: list[Array]) -> Array:
    index = tuple(
        begin + stride * np.arange(extent)
        for begin, stride, extent in zip(
            node.attrs["begin"], node.attrs["strides"], node.output.shape, strict=True
        )
    )
    return arrays[0][np.ix_(*index)] if index else arrays[0]


def _pad(node: Node, arrays: list[Array]) -> Array | None:
    widths = list(zip(node.attrs["before"], node.attrs["after"], strict=True))
    mode = node.attrs["mode"]
    if mode != "constant":
        return np.pad(arrays[0], widths, mode=mode)
    y = node.output
    value: Any = node.attrs["value"]
    if y.quantization is not None:
        if not y.quantization.is_per_tensor:
            return None
        value = quantized(np.float32(value), y, "onnx")
    return np.pad(arrays[0], widths, constant_values=value)


def _gather(node: Node, arrays: list[Array]) -> Array | None:
    data, indices = arrays
    extent = data.shape[node.attrs["axis"]]
    if np.any(indices < -extent) or np.any(indices >= extent):
        return None
    return np.take(data, indices, axis=node.attrs["axis"])


_MOVED: dict[str, Callable[[Node, list[Array]], Array | None]] = {
    "reshape": lambda node, arrays: arrays[0].reshape(node.output.shape),
    "transpose": lambda node, arrays: arrays[0].transpose(node.attrs["perm"]),
    "concat": lambda node, arrays: np.concatenate(arrays, axis=node.attrs["axis"]),
    "slice": _slice,
    "pad": _pad,
    "gather": _gather,
}
