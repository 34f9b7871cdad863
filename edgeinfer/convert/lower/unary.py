"""Operators of one operand, element by element: tables, and conversions between types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import (
    CLAMPS,
    activation_bounds,
    bounds_of,
    chained,
)
from edgeinfer.convert.lower.functions import UNARY
from edgeinfer.convert.lower.lowering import (
    Lowering,
    Refused,
    clamp_params,
    finite,
    not_quantized,
    require,
    scale_of,
    zero_point_of,
)
from edgeinfer.convert.lower.pointwise import body_table
from edgeinfer.convert.lower.quantized import EIGHT_BITS
from edgeinfer.convert.lower.tables import byte_table, int16_table

Array = npt.NDArray[Any]

TABLE_OUTPUTS = ("int8", "uint8", "int16", "int32", "float32")


def lower_unary(node: Node, lowering: Lowering) -> None:
    """Any elementwise function: of 8 bits a table of 256, of 16 bits a table of 513."""
    x, y = node.input(0), node.output
    if x.dtype == "float32" and node.op in CLAMPS and y.quantization is not None:
        return _quantize(
            node,
            lowering,
            chained(("clip", *bounds_of(node.op, node.attrs)), activation_bounds(node.activation)),
        )
    if x.quantization is None:
        raise not_quantized(x)
    _check_output(y)
    if x.dtype in EIGHT_BITS:
        scale_of(x)
        table = byte_table(node.op, node.attrs, node.activation, x, y, lowering.source_format)
        emit_table(node, lowering, x, y, table)
    elif x.dtype == "int16":
        _lower_int16(node, lowering, x, y)
    else:
        raise Refused(f"{node.op} of {x.dtype} is not available", "quantise to int8 or int16")
    return None


def lower_pointwise(node: Node, lowering: Lowering) -> None:
    """A chain that passes fused: one table."""
    x, y = node.input(0), node.output
    _check_output(y)
    emit_table(node, lowering, x, y, body_table(node, lowering.source_format))


def emit_table(node: Node, lowering: Lowering, x: Tensor, y: Tensor, table: Array) -> None:
    """One lut8 from x to y."""
    constant = lowering.constant(f"{y.name}/table", table)
    lowering.emit(node, "lut8", [lowering.value(x), constant], lowering.value(y), {"reserved": 0})


def _check_output(y: Tensor) -> None:
    if y.dtype == "float32":
        return
    if y.dtype not in TABLE_OUTPUTS:
        raise Refused(f"output {y.name!r} is {y.dtype}, must be one of {', '.join(TABLE_OUTPUTS)}")
    scale_of(y)


def _lower_int16(node: Node, lowering: Lowering, x: Tensor, y: Tensor) -> None:
    require(x, "input", "int16")
    if node.op in CLAMPS and y.dtype in ("int8", "uint8", "int16"):
        activation = chained(
            ("clip", *bounds_of(node.op, node.attrs)), activation_bounds(node.activation)
        )
        emit_requantize(node, lowering, x, y, activation)
        return
    require(y, "output", "int16")
    if node.activation is not None:
        raise Refused(f"{node.op} of int16 with a fused activation is not available")
    table = lowering.constant(f"{y.name}/table", int16_table(node.op, node.attrs, x, y))
    lowering.emit(node, "lut16", [lowering.value(x), table], lowering.value(y), {"reserved": 0})


def lower_requantize(node: Node, lowering: Lowering) -> None:
    """8 bits to 8 bits is a table, everything else one multiplication."""
    x, y = node.input(0), node.output
    require(x, "input", "int8", "uint8", "int16", "int32")
    require(y, "output", "int8", "uint8", "int16")
    if x.dtype in EIGHT_BITS:
        scale_of(x), scale_of(y)
        table = byte_table("requantize", {}, node.activation, x, y, lowering.source_format)
        emit_table(node, lowering, x, y, table)
        return
    emit_requantize(node, lowering, x, y, node.activation)


def emit_requantize(
    node: Node,
    lowering: Lowering,
    x: Tensor,
    y: Tensor,
    activation: str | tuple[str, float | None, float | None] | None,
) -> None:
    """One requantize from x to y."""
    multiplier = scale_of(x) / scale_of(y)
    finite(multiplier, "the multiplier")
    lowering.emit(
        node,
        "requantize",
        [lowering.value(x)],
        lowering.value(y),
        {
            "in_zero_point": zero_point_of(x),
            "multiplier": float(multiplier),
            **clamp_params(activation, y, lowering.source_format),
        },
    )


def lower_quantize(node: Node, lowering: Lowering) -> None:
    """float32 to integers."""
    if node.input(0).dtype != "float32":
        return lower_requantize(node, lowering)
    return _quantize(node, lowering, node.activation)


def _quantize(
    node: Node,
    lowering: Lowering,
    activation: str | tuple[str, float | None, float | None] | None,
) -> None:
    """TFLite multiplies by the reciprocal of the scale, ONNX divides by the scale."""
    x, y = node.input(0), node.output
    require(y, "output", "int8", "uint8", "int16")
    scale = scale_of(y)
    divide = lowering.source_format != "tflite"
    factor = scale if divide else np.float32(1) / scale
    finite(factor, "the reciprocal of the scale")
    clamp = clamp_params(activation, y, lowering.source_format)
    clamp["zero_point"] = clamp.pop("out_zero_point")
    lowering.emit(
        node,
        "quantize",
        [lowering.value(x)],
        lowering.value(y),
        {"factor": float(factor), "divide": int(divide), **clamp},
    )


def lower_dequantize(node: Node, lowering: Lowering) -> None:
    """Integers to float32."""
    x, y = node.input(0), node.output
    require(x, "input", "int8", "uint8", "int16", "int32")
    if y.dtype != "float32":
        raise Refused(f"output {y.name!r} of a dequantize is {y.dtype}, must be float32")
    if node.activation is not None:
        raise Refused("dequantize with a fused activation is not available")
    lowering.emit(
        node,
        "dequantize",
        [lowering.value(x)],
        lowering.value(y),
        {"scale": float(scale_of(x)), "zero_point": zero_point_of(x)},
    )


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    **dict.fromkeys(UNARY, lower_unary),
    "pointwise": lower_pointwise,
    "quantize": lower_quantize,
    "dequantize": lower_dequantize,
    "requantize": lower_requantize,
}
