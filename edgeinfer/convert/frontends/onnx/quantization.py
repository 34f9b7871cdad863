"""QuantizeLinear and DequantizeLinear: their parameters, and the nodes that remain of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from edgeinfer.convert.graph import Node, Quantization, Tensor

from .model_file import DEFAULT, SourceNode
from .values import (
    Array,
    Unsupported,
    Value,
    Values,
    check_shape,
    graph_dtype,
    is_dequantize,
    is_quantize,
    quantised_numbers,
)

_STORED = ("INT8", "UINT8", "INT16", "INT32")

MOVING = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Pad",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that give integers back as they are: what they read and make is quantised alike."""


def _constant(node: SourceNode, index: int, values: Values, what: str) -> Array:
    if index >= len(node.inputs):  # nobody checks operators of other domains
        raise Unsupported(f"it has no {what}")
    value = values[node.inputs[index]]
    if value.data is None:
        raise Unsupported(
            f"its {what} (tensor {value.name!r}) is computed at run time",
            "quantise statically, so that scales and zero points are constants",
        )
    return value.data


def _attribute(node: SourceNode, name: str, default: int) -> int:
    value = node.attrs.get(name, default)
    if not isinstance(value, int):  # nobody checks operators of other domains
        raise Unsupported(f"its {name} is not an integer")
    return value


def parameters(
    node: SourceNode, values: Values, shape: tuple[int, ...] | None
) -> tuple[Quantization, str]:
    """Quantisation and element type of the integers that a conversion makes or reads."""
    if _attribute(node, "block_size", 0):
        raise Unsupported(
            "it is quantised in blocks", "quantise per tensor, or weights per output channel"
        )
    scale = _constant(node, 1, values, "scale").astype(np.float32)
    if len(node.inputs) > 2 and node.inputs[2]:
        zero_point = _constant(node, 2, values, "zero point")
        if not np.issubdtype(zero_point.dtype, np.integer):
            raise Unsupported(f"its zero point is {zero_point.dtype}, not an integer")
        zero_point = zero_point.astype(np.int64)
        elements = values[node.inputs[2]].elements
    else:
        zero_point = np.zeros(scale.shape, np.int64)
        elements = "UINT8"
        if is_dequantize(node):
            elements = values[node.inputs[0]].elements
        elif _attribute(node, "output_dtype", 0):
            elements = values.element_name(_attribute(node, "output_dtype", 0))
    if scale.ndim > 1 or scale.size < 1 or scale.size != zero_point.size:
        raise Unsupported(
            f"its scale has shape {list(scale.shape)}, its zero point {list(zero_point.shape)}"
        )
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        bad = float(scale[~(np.isfinite(scale) & (scale > 0))].reshape(-1)[0])
        raise Unsupported(f"it has scale {bad}; scales are finite and above zero")
    if elements not in _STORED:
        raise Unsupported(
            f"it quantises to {elements}", "quantise activations to int8, uint8 or int16"
        )
    axis = 0
    if scale.size > 1:
        axis = _attribute(node, "axis", 1)
        if shape is not None:
            if not -len(shape) <= axis < len(shape) or shape[axis] != scale.size:
                raise Unsupported(f"{scale.size} scales along axis {axis} of {list(shape)}")
            axis %= len(shape)
    return Quantization(scale.reshape(-1), zero_point.reshape(-1), axis), elements


def is_plain_conversion(node: SourceNode, values: Values) -> bool:
    """Whether a conversion is arithmetic on plain numbers: see `run_time_quantization`.

    So it is where a tensor of the graph cannot be quantised in that way: an activation per channel
    or in blocks, or as int16 with a zero point.
    """
    if node.domain != DEFAULT or not (is_quantize(node) or is_dequantize(node)):
        return False
    inputs = (*node.inputs, "", "", "")
    x, scale, zero_point = (values.find(name) for name in inputs[:3])
    if x is not None and (x.data is not None or x.quantised is not None):
        return False
    if scale is None or scale.data is None:
        return False
    if node.attrs.get("block_size", 0) or scale.data.size > 1:
        return True
    if zero_point is None or zero_point.data is None:
        return False
    return zero_point.data.dtype == np.int16 and bool(np.any(zero_point.data))


def dequantize(node: SourceNode, values: Values) -> None:
    """Let the output have the numbers of the input; no node is made."""
    x = values[node.inputs[0]]
    quantization, elements = parameters(node, values, x.known_shape)
    if elements != x.elements:
        raise Unsupported(f"its input is {x.elements} and its zero point {elements}")
    if x.data is not None:
        dtype = graph_dtype(x.name, x.elements)
        data = np.ascontiguousarray(x.data.astype(dtype, copy=False)).reshape(x.data.shape)
        stored = Tensor(x.name, data.shape, dtype, quantization, data)
    else:
        stored = values.plain(x)
        if stored.quantization is None:
            stored.quantization = quantization
        elif not stored.quantization.same_as(quantization):
            raise Unsupported(
                f"{x.name!r} is stored with {_words(stored.quantization)} and read with "
                f"{_words(quantization)}",
                "quantise the model again: both must be the same",
            )
    output = values.add(node.outputs[0], _real_elements(node, values), x.shape)
    output.quantised = stored
    output.made_by = node.name


def _real_elements(node: SourceNode, values: Values) -> str:
    """DequantizeLinear makes what its scale is made of, unless it says otherwise."""
    if _attribute(node, "output_dtype", 0):
        return values.element_name(_attribute(node, "output_dtype", 0))
    return values[node.inputs[1]].elements


def quantize(node: SourceNode, values: Values) -> Node | None:
    """The node that quantises the input, or none where its numbers are so stored already.

    What an operator before it has made quantised is in `values` and does not come here.
    """
    x = values[node.inputs[0]]
    quantization, elements = parameters(node, values, x.known_shape)
    dtype = graph_dtype(node.outputs[0], elements)
    shape = check_shape(x.known_shape, dtype)
    output = Value(node.outputs[0], elements, shape)
    data = x.constant_data
    if data is not None:
        output.data = quantised_numbers(data, quantization, dtype)
        values.put(output)
        return None
    made = Tensor(output.name, shape, dtype, quantization)
    source = values.real(x)
    if source.quantization is None and source.dtype != "float32":
        raise Unsupported(f"it quantises {source.dtype}; float32 is needed")
    if source.dtype == dtype and quantization.same_as(source.quantization):
        made = source
    else:
        made, is_new = values.quantize_once(x, made)
        if is_new:
            output.plain = made
            values.put(output)
            op = "quantize" if source.quantization is None else "requantize"
            return Node(op, [source], [made], {}, None, node.name, node.source)
    output.plain = made
    values.put(output)
    return None


def integer_quantizations(
    nodes: Iterable[SourceNode], values: Values
) -> Mapping[str, Quantization]:
    """How integers are quantised that no QuantizeLinear makes: those of graph inputs.

    DequantizeLinear says it, on the spot or behind operators that only move.
    """
    found: dict[str, Quantization] = {}
    for node in reversed(list(nodes)):
        if is_dequantize(node) and not is_plain_conversion(node, values):
            try:
                found[node.inputs[0]], _ = parameters(node, values, None)
            except Unsupported:
                continue  # said when the node itself is looked at
        elif node.domain == DEFAULT and node.op in MOVING:
            quantization = found.get(node.outputs[0])
            if quantization is not None and quantization.is_per_tensor:
                for name in node.inputs if node.op == "Concat" else node.inputs[:1]:
                    found[name] = quantization
    return found


def _words(quantization: Quantization) -> str:
    if not quantization.is_per_tensor:
        return f"{quantization.scale.size} scales"
    scale, zero_point = quantization.scale[0], quantization.zero_point[0]
    return f"scale {scale:.6g}, zero point {zero_point}"
