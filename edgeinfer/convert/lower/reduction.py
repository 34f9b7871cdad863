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
    """reduce_max as max_pool2d, once per run of axes; reduce_min on complemented integers.

    ~q = -1 - q turns the order around, so min(x) = ~max(~x), without rounding.
    """
    x, y = node.input(0), node.output
    dtypes = ("int8", "uint8", "int16") if node.op == "reduce_max" else ("int8", "uint8")
    require(x, "input", *dtypes)
    require_same_type(node, x, y)
    if node.activation is not None:
        raise Refused(f"{node.op} with a fused activation is not available")
    value = lowering.value(x)
    if node.op == "reduce_min":
        value = _complement(node, lowering, value, x)
    shape = list(x.shape)
    for first, last in _runs(x.shape, node.attrs["axes"]):
        # [before..., reduced..., after...] as an image of `before` lines, one window per line.
        before = int(np.prod(shape[:first], dtype=np.int64))
        reduced = int(np.prod(shape[first:last], dtype=np.int64))
        after = int(np.prod(shape[last:], dtype=np.int64))
        image = lowering.reshaped(value, (1, before, reduced, after), node)
        value = Value(y.name, (1, before, 1, after), y.dtype, value.scale, value.zero_point)
        lowering.emit(node, "max_pool2d", [image], value, _line(reduced, x.dtype))
        shape[first:last] = [1] * (last - first)
    if node.op == "reduce_min":
        value = _complement(node, lowering, value, x)
    lowering.emit(node, "copy", [value], lowering.value(y), {"reserved": 0})


def _runs(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Runs [first, last) of neighbouring axes; those of length 1 need no reducing."""
    runs: list[tuple[int, int]] = []
    for axis in sorted(axes):
        if shape[axis] == 1:
            continue
        if runs and all(extent == 1 for extent in shape[runs[-1][1] : axis]):
            runs[-1] = (runs[-1][0], axis + 1)
        else:
            runs.append((axis, axis + 1))
    return runs


def _line(length: int, dtype: str) -> dict[str, int | float]:
    """A window as long as the line."""
    low, high = integer_range(dtype)
    ones = ("kernel_h", "stride_h", "stride_w", "dilation_h", "dilation_w")
    return {
        **dict.fromkeys(ones, 1),
        "kernel_w": length,
        "pad_top": 0,
        "pad_left": 0,
        "clamp_min": low,
        "clamp_max": high,
    }


def _complement(node: Node, lowering: Lowering, value: Value, x: Tensor) -> Value:
    table = lowering.constant(f"{node.output.name}/complement", ~all_bytes(x.dtype))
    result = Value(f"{value.name}/complement", value.shape, value.dtype)
    lowering.emit(node, "lut8", [value, table], result, {"reserved": 0})
    return result


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "mean": lower_sum,
    "sum": lower_sum,
    "reduce_max": lower_extreme,
    "reduce_min": lower_extreme,
}
