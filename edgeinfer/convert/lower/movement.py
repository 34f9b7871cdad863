"""reshape, transpose, slice, pad, concat: operators that copy bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.lowering import Lowering, Refused, require_same_type, scale_of
from edgeinfer.convert.lower.quantized import quantized
from edgeinfer.convert.program import Value

MAX_RANK = 6
MAX_CONCAT = 255

_PAD_MODES = {"constant": 0, "reflect": 1, "symmetric": 2, "edge": 3}


def indexed(name: str, values: tuple[int, ...], default: int | None) -> dict[str, int | float]:
    """Parameters name_0 to name_5; those beyond the rank get the default, or their own index."""
    padded = [*values, *(i if default is None else default for i in range(len(values), MAX_RANK))]
    return {f"{name}_{i}": int(value) for i, value in enumerate(padded)}


def lower_reshape(node: Node, lowering: Lowering) -> None:
    """A copy; the planner lets it share its input's memory."""
    x, y = node.input(0), node.output
    _check(node, x)
    lowering.emit(node, "copy", [lowering.value(x)], lowering.value(y), {"reserved": 0})


def lower_transpose(node: Node, lowering: Lowering) -> None:
    """One transpose."""
    x, y = node.input(0), node.output
    _check(node, x)
    lowering.emit(
        node,
        "transpose",
        [lowering.value(x)],
        lowering.value(y),
        indexed("perm", tuple(node.attrs["perm"]), None),
    )


def lower_slice(node: Node, lowering: Lowering) -> None:
    """One slice."""
    x, y = node.input(0), node.output
    _check(node, x)
    lowering.emit(
        node,
        "slice",
        [lowering.value(x)],
        lowering.value(y),
        {
            **indexed("begin", tuple(node.attrs["begin"]), 0),
            **indexed("stride", tuple(node.attrs["strides"]), 1),
        },
    )


def lower_pad(node: Node, lowering: Lowering) -> None:
    """One pad; the value as it is stored."""
    x, y = node.input(0), node.output
    _check(node, x)
    mode = node.attrs["mode"]
    value = _stored(float(node.attrs.get("value") or 0.0), y) if mode == "constant" else 0
    lowering.emit(
        node,
        "pad",
        [lowering.value(x)],
        lowering.value(y),
        {
            **indexed("before", tuple(node.attrs["before"]), 0),
            "mode": _PAD_MODES[mode],
            "value": value,
        },
    )


def _stored(value: float, y: Tensor) -> int:
    """A real number as the int32 whose low bytes are an element of y."""
    if y.quantization is not None:
        scale_of(y)
        return int(quantized(np.float32(value), y, "onnx"))
    if y.dtype == "float32":
        with np.errstate(over="ignore"):
            return int(struct.unpack("<i", struct.pack("<f", np.float32(value)))[0])
    if y.dtype == "int64":
        raise Refused("padding int64 tensors is not available")
    return int(value)


def lower_concat(node: Node, lowering: Lowering) -> None:
    """One concat, or several in turn for more inputs than one takes."""
    y = node.output
    _check(node, *(node.input(i) for i in range(len(node.inputs))))
    if node.activation is not None:
        raise Refused("concat with a fused activation is not available")
    axis = int(node.attrs["axis"])
    values: list[Value | None] = [lowering.value(node.input(i)) for i in range(len(node.inputs))]
    result = lowering.value(y)
    while len(values) > MAX_CONCAT:
        parts = [value for value in values[:MAX_CONCAT] if value is not None]
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        joined = Value(f"{y.name}/part", tuple(shape), y.dtype, result.scale, result.zero_point)
        lowering.emit(node, "concat", parts, joined, {"axis": axis})
        values = [joined, *values[MAX_CONCAT:]]
    lowering.emit(node, "concat", values, result, {"axis": axis})


def _check(node: Node, *inputs: Tensor) -> None:
    require_same_type(node, node.output, *inputs)


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "reshape": lower_reshape,
    "transpose": lower_transpose,
    "slice": lower_slice,
    "pad": lower_pad,
    "concat": lower_concat,
}
