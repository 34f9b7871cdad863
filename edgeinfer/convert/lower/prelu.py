"""prelu with a slope per channel, from operators that the runtime has.

With x' = max(x, 0) in units of the output and x'' = min(x, 0) * slope, requantised, one of the two
is always the output's zero point; x' + x'' - zero_point is therefore exact, and rounds once.

x' is a table. x'' is a depthwise convolution with one tap of 1 or -1, whose output multipliers hold
the slopes; or a mul, where slopes are int8 and vary along other axes than the last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import integer_range
from edgeinfer.convert.lower.lowering import (
    Lowering,
    Refused,
    clamp_params,
    finite,
    require,
    scale_of,
    zero_point_of,
)
from edgeinfer.convert.lower.multipliers import product_multiplier
from edgeinfer.convert.lower.pack import pack_channels, pack_depthwise_conv2d
from edgeinfer.convert.lower.quantized import dequantized
from edgeinfer.convert.lower.tables import all_bytes, byte_table
from edgeinfer.convert.lower.unary import emit_table
from edgeinfer.convert.program import Value


def lower_prelu(node: Node, lowering: Lowering) -> None:
    """A leaky_relu table for one slope; two tables, a product and an add for several."""
    x, slope, y = node.input(0), node.input(1), node.output
    require(x, "input", "int8")
    require(y, "output", "int8")
    slopes = _slopes(slope)
    if node.activation is not None:
        raise Refused("prelu with a fused activation is not available")
    if slopes.size == 1:
        attrs = {"alpha": float(slopes.reshape(()))}
        table = byte_table("leaky_relu", attrs, None, x, y, lowering.source_format)
        return emit_table(node, lowering, x, y, table)
    zero_x, zero_y = zero_point_of(x), zero_point_of(y)
    above = byte_table("relu", {}, None, x, y, lowering.source_format)
    above = np.where(all_bytes("int8") >= zero_x, above, np.int8(zero_y)).astype(np.int8)
    below = np.minimum(all_bytes("int8"), zero_x).astype(np.int8)
    positive, negative_x, negative = (
        Value(f"{y.name} ({part})", x.shape, "int8", float(scale_of(of)), zero_point_of(of))
        for part, of in (("positive", y), ("negative", x), ("scaled", y))
    )
    for value, table in ((positive, above), (negative_x, below)):
        constant = lowering.constant(f"{value.name}/table", table)
        lowering.emit(node, "lut8", [lowering.value(x), constant], value, {"reserved": 0})
    if all(extent == 1 for extent in slope.shape[:-1]):
        _scale_channels(node, lowering, negative_x, slopes.reshape(-1), negative)
    else:
        _scale_elements(node, lowering, negative_x, negative)
    low, high = integer_range("int8")
    # (positive - zero_y) + (negative - zero_y), then + zero_y: no shift, no rounding.
    bias = -2 * zero_y
    lowering.emit(
        node,
        "add",
        [positive, negative],
        lowering.value(y),
        {
            "a_multiplier": 1,
            "b_multiplier": 1,
            "bias_low": bias,
            "bias_high": -1 if bias < 0 else 0,
            "shift": 0,
            "out_zero_point": zero_y,
            "clamp_min": low,
            "clamp_max": high,
        },
    )
    return None


def _slopes(slope: Tensor) -> npt.NDArray[np.float32]:
    if slope.data is None:
        raise Refused(f"slope {slope.name!r} is not constant", "store the slopes in the model")
    if slope.quantization is not None:
        slopes = dequantized(slope, slope.data)
    elif slope.dtype == "float32":
        slopes = slope.data
    else:
        raise Refused(f"slope {slope.name!r} is {slope.dtype} without a quantisation")
    if not np.all(np.isfinite(slopes)):
        raise Refused(f"slope {slope.name!r} is not finite")
    return slopes


def _scale_channels(
    node: Node, lowering: Lowering, source: Value, slopes: npt.NDArray[Any], result: Value
) -> None:
    """Multiply by a number per element of the last axis, by a depthwise convolution."""
    x, y = node.input(0), node.output
    channels = x.shape[-1]
    slopes = np.broadcast_to(slopes, (channels,))
    multiplier = np.asarray(scale_of(x) * np.abs(slopes) / scale_of(y), np.float32)
    finite(multiplier, "the output multiplier")
    signs = np.sign(slopes).astype(np.int8)
    pixels = int(np.prod(x.shape[:-1], dtype=np.int64))
    image = x.shape if len(x.shape) == 4 else (1, pixels, 1, channels)
    scaled = result if image == result.shape else Value(result.name, image, result.dtype)
    bias = -zero_point_of(x) * signs.astype(np.int32)
    lowering.emit(
        node,
        "depthwise_conv2d",
        [
            lowering.reshaped(source, image, node),
            lowering.constant(
                f"{y.name}/signs", pack_depthwise_conv2d(signs.reshape(1, 1, channels))
            ),
            lowering.constant(f"{y.name}/bias", pack_channels(bias)),
            lowering.constant(f"{y.name}/multiplier", pack_channels(multiplier)),
        ],
        scaled,
        {
            **dict.fromkeys(("kernel_h", "kernel_w", "stride_h", "stride_w"), 1),
            **dict.fromkeys(("dilation_h", "dilation_w", "multiplier"), 1),
            **dict.fromkeys(("pad_top", "pad_left"), 0),
            **clamp_params(None, y, lowering.source_format),
        },
    )
    if scaled is not result:
        lowering.emit(node, "copy", [scaled], result, {"reserved": 0})


def _scale_elements(node: Node, lowering: Lowering, source: Value, result: Value) -> None:
    """Multiply by int8 slopes of any shape that broadcasts."""
    x, slope, y = node.input(0), node.input(1), node.output
    if slope.dtype != "int8":
        raise Refused(
            f"slope {slope.name!r} varies along several axes and is {slope.dtype}",
            "quantise the slopes to INT8, or use one per channel",
        )
    multiplier = product_multiplier(scale_of(x), scale_of(slope), scale_of(y))
    finite(multiplier, "the output multiplier")
    shape = (1,) * (len(x.shape) - len(slope.shape)) + slope.shape
    lowering.emit(
        node,
        "mul",
        [source, lowering.reshaped(lowering.value(slope), shape, node)],
        result,
        {
            "a_zero_point": zero_point_of(x),
            "b_zero_point": zero_point_of(slope),
            "multiplier": float(multiplier),
            **clamp_params(None, y, lowering.source_format),
        },
    )


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"prelu": lower_prelu}
