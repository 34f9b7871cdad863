"""mean, sum, reduce_max, reduce_min."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import integer_range
from edgeinfer.convert.lower.lowering import (
    ACTIVATIONS,
    Lowering,
    Refused,
    clamp_params,
    finite,
    require,
    require_int32,
    require_same_type,
    scale_of,
    zero_point_of,
)
from edgeinfer.convert.lower.multipliers import reduce_parameters
from edgeinfer.convert.lower.tables import all_bytes
from edgeinfer.convert.program import Value


def lower_sum(node: Node, lowering: Lowering) -> None:
    """mean and sum: one sum of stored integers, one multiplication, one addition."""
    x, y = node.input(0), node.output
    require(x, "input", *ACTIVATIONS)
    require(y, "output", x.dtype)
    axes = node.attrs["axes"]
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    low, high = integer_range(x.dtype)
    if x.dtype == "int8":
        require_int32(count * low, count * high, "the sum")
    multiplier, offset = reduce_parameters(
        scale_of(x),
        zero_point_of(x),
        scale_of(y),
        zero_point_of(y),
        count,
        mean=node.op == "mean",
    )
    finite(multiplier, "the multiplier")
    finite(offset, "the offset")
    clamp = clamp_params(node.activation, y, lowering.source_format)
    del clamp["out_zero_point"]
    lowering.emit(
        node,
        "reduce_sum",
        [lowering.value(x)],
        lowering.value(y),
        {
            "axes": sum(1 << axis for axis in axes),
            "multiplier": float(multiplier),
            "offset": float(offset),
            **clamp,
        },
    )


def lower_extreme(node: Node, lowering: Lowering) -> None:
    """reduce_max as a max_pool2d over neighbouring axes; reduce_min on complemented integers.

    ~q = -1 - q turns the order around, so min(x) = ~max(~x), without rounding.
    """
    x, y = node.input(0), node.output
    dtypes = ("int8", "uint8", "int16") if node.op == "reduce_max" else ("int8", "uint8")
    require(x, "input", *dtypes)
    require_same_type(node, x, y)
    if node.activation is not None:
        raise Refused(f"{node.op} with a fused activation is not available")
    axes = sorted(node.attrs["axes"])
    wide = [axis for axis in axes if x.shape[axis] > 1] or axes[:1]
    first, last = wide[0], wide[-1]
    if any(x.shape[axis] > 1 for axis in range(first, last) if axis not in wide):
        raise Refused(
            f"axes {axes} of {list(x.shape)} are not neighbours", "reduce over one axis at a time"
        )
    # [before..., reduced..., after...] as an image of `before` lines, one window per line.
    before = int(np.prod(x.shape[:first], dtype=np.int64))
    reduced = int(np.prod(x.shape[first : last + 1], dtype=np.int64))
    after = int(np.prod(x.shape[last + 1 :], dtype=np.int64))
    low, high = integer_range(x.dtype)
    value = lowering.value(x)
    if node.op == "reduce_min":
        value = _complement(node, lowering, value, x, lowering.value(x).shape)
    image = lowering.reshaped(value, (1, before, reduced, after), node)
    line = Value(y.name, (1, before, 1, after), y.dtype, value.scale, value.zero_point)
    lowering.emit(
        node,
        "max_pool2d",
        [image],
        line,
        {
            "kernel_h": 1,
            "kernel_w": reduced,
            "stride_h": 1,
            "stride_w": 1,
            "dilation_h": 1,
            "dilation_w": 1,
            "pad_top": 0,
            "pad_left": 0,
            "clamp_min": low,
            "clamp_max": high,
        },
    )
    if node.op == "reduce_min":
        line = _complement(node, lowering, line, x, line.shape)
    lowering.emit(node, "copy", [line], lowering.value(y), {"reserved": 0})


def _complement(
    node: Node, lowering: Lowering, value: Value, x: Tensor, shape: tuple[int, ...]
) -> Value:
    table = lowering.constant(f"{node.output.name}/complement", ~all_bytes(x.dtype))
    result = Value(f"{value.name}/complement", shape, value.dtype)
    lowering.emit(node, "lut8", [value, table], result, {"reserved": 0})
    return result


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "mean": lower_sum,
    "sum": lower_sum,
    "reduce_max": lower_extreme,
    "reduce_min": lower_extreme,
}
