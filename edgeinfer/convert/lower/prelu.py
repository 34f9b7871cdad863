"""prelu with one slope per channel, from operators that the runtime has.

With x' = max(x, 0) in units of the output and x'' = min(x, 0) * slope, requantised, one of the two
is always the output's zero point; x' + x'' - zero_point is therefore exact, and rounds once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node
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
from edgeinfer.convert.lower.tables import all_bytes, byte_table
from edgeinfer.convert.lower.unary import emit_table
from edgeinfer.convert.program import Value


def lower_prelu(node: Node, lowering: Lowering) -> None:
    """A leaky_relu table for one slope; two tables, a mul and an add for several."""
    x, slope, y = node.input(0), node.input(1), node.output
    require(x, "input", "int8")
    require(y, "output", "int8")
    if slope.data is None:
        raise Refused(f"slope {slope.name!r} is not constant", "store the slopes in the model")
    if slope.quantization is None or slope.dtype != "int8":
        raise Refused(
            f"slope {slope.name!r} is {slope.dtype} and not quantised to int8",
            "quantise the slopes to INT8",
        )
    if node.activation is not None:
        raise Refused("prelu with a fused activation is not available")
    if slope.data.size == 1:
        alpha = (int(slope.data.reshape(())) - zero_point_of(slope)) * scale_of(slope)
        table = byte_table(
            "leaky_relu", {"alpha": float(alpha)}, None, x, y, lowering.source_format
        )
        return emit_table(node, lowering, x, y, table)
    zero_x, zero_y = zero_point_of(x), zero_point_of(y)
    low, high = integer_range("int8")
    above = byte_table("relu", {}, None, x, y, lowering.source_format)
    above = np.where(all_bytes("int8") >= zero_x, above, np.int8(zero_y)).astype(np.int8)
    below = np.minimum(all_bytes("int8"), zero_x).astype(np.int8)
    scale, point = float(scale_of(y)), zero_y

    def part(name: str, scale: float, point: int) -> Value:
        return Value(f"{y.name}/{name}", x.shape, "int8", scale, point)

    positive = part("positive", scale, point)
    negative_x = part("negative", float(scale_of(x)), zero_x)
    negative = part("scaled", scale, point)
    source = lowering.value(x)
    for value, table in ((positive, above), (negative_x, below)):
        constant = lowering.constant(f"{value.name}/table", table)
        lowering.emit(node, "lut8", [source, constant], value, {"reserved": 0})
    multiplier = product_multiplier(scale_of(x), scale_of(slope), scale_of(y))
    finite(multiplier, "the output multiplier")
    rank = len(x.shape)
    slopes = lowering.reshaped(
        lowering.value(slope), (1,) * (rank - len(slope.shape)) + slope.shape, node
    )
    clamp = clamp_params(None, y, lowering.source_format)
    lowering.emit(
        node,
        "mul",
        [negative_x, slopes],
        negative,
        {
            "a_zero_point": zero_x,
            "b_zero_point": zero_point_of(slope),
            "multiplier": float(multiplier),
            **clamp,
        },
    )
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


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"prelu": lower_prelu}
