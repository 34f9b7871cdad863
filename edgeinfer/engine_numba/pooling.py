"""Pools of quantised images. Source: "Pooling" in docs/internals/numerics.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import inline, kernel
from edgeinfer.engine_numba.elementwise import output_side
from edgeinfer.engine_numba.node import QUANTIZED, S8_S16, Node, Run
from edgeinfer.engine_numba.rounding import requantized
from edgeinfer.engine_numba.windows import (
    DILATION_H,
    DILATION_W,
    IN_C,
    IN_H,
    IN_W,
    KERNEL_H,
    KERNEL_W,
    OUT_H,
    OUT_W,
    PAD_LEFT,
    PAD_TOP,
    STRIDE_H,
    STRIDE_W,
    pool_geometry,
)

_MOST_TAPS_S8 = 2**22


@inline
def taps_inside(origin: Any, kernel_size: Any, dilation: Any, size: Any) -> Any:
    """First tap and end of those taps k for which 0 <= origin + k * dilation < size."""
    first = (dilation - 1 - origin) // dilation if origin < 0 else 0
    end = (size - origin + dilation - 1) // dilation if origin < size else 0
    return first, max(first, min(end, kernel_size))


@kernel
def _largest(x: Any, y: Any, g: Any, low: Any, high: Any, begin: Any, end: Any) -> None:
    """Rows [begin, end): the largest of the taps inside, then the clamp."""
    channels = g[IN_C]
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        top = r % g[OUT_H] * g[STRIDE_H] - g[PAD_TOP]
        y0, y1 = taps_inside(top, g[KERNEL_H], g[DILATION_H], g[IN_H])
        for ox in range(g[OUT_W]):
            left = ox * g[STRIDE_W] - g[PAD_LEFT]
            x0, x1 = taps_inside(left, g[KERNEL_W], g[DILATION_W], g[IN_W])
            out = (r * g[OUT_W] + ox) * channels
            for c in range(channels):
                y[out + c] = low
            for ky in range(y0, y1):
                line = (image + top + ky * g[DILATION_H]) * g[IN_W] + left
                for kx in range(x0, x1):
                    source = (line + kx * g[DILATION_W]) * channels
                    for c in range(channels):
                        y[out + c] = max(y[out + c], x[source + c])
            for c in range(channels):
                y[out + c] = min(y[out + c], y.dtype.type(high))


def max_pool2d(node: Node) -> Run:
    """x -> y"""
    _, g = pool_geometry(node, *QUANTIZED)
    low, high = node.clamp()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _largest(inputs[0].reshape(-1), output.reshape(-1), g, low, high, begin, end)

    return run


@kernel
def _average(
    x: Any, y: Any, sums: Any, g: Any, all_taps: Any, integer_mean: Any, in_zero_point: Any,
    multiplier: Any, low: Any, high: Any, zero_point: Any, clamp_min: Any, clamp_max: Any,
    begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end) of a mean; `sums` has an entry for each channel."""
    channels = g[IN_C]
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        top = r % g[OUT_H] * g[STRIDE_H] - g[PAD_TOP]
        y0, y1 = taps_inside(top, g[KERNEL_H], g[DILATION_H], g[IN_H])
        for ox in range(g[OUT_W]):
            left = ox * g[STRIDE_W] - g[PAD_LEFT]
            x0, x1 = taps_inside(left, g[KERNEL_W], g[DILATION_W], g[IN_W])
            inside = (y1 - y0) * (x1 - x0)
            count = g[KERNEL_H] * g[KERNEL_W] if all_taps else inside
            for c in range(channels):
                sums[c] = 0
            for ky in range(y0, y1):
                line = (image + top + ky * g[DILATION_H]) * g[IN_W] + left
                for kx in range(x0, x1):
                    source = (line + kx * g[DILATION_W]) * channels
                    for c in range(channels):
                        sums[c] += x[source + c]
            out = (r * g[OUT_W] + ox) * channels
            if integer_mean:
                for c in range(channels):
                    s = sums[c]
                    mean = (abs(s) + count // 2) // count
                    mean = -mean if s < 0 else mean
                    y[out + c] = min(max(mean, clamp_min), clamp_max)
            else:
                scale = multiplier / np.float32(count)
                for c in range(channels):
                    total = np.float32(sums[c] - inside * in_zero_point)
                    y[out + c] = requantized(total * scale, low, high, zero_point)


def avg_pool2d(node: Node) -> Run:
    """x -> y"""
    x, g = pool_geometry(node, *S8_S16)
    if x.dtype == "int8":
        taps = int(min(g[KERNEL_H], g[IN_H]) * min(g[KERNEL_W], g[IN_W]))
        node.require(taps <= _MOST_TAPS_S8, f"taps in a window: {taps}, at most {_MOST_TAPS_S8}")
    all_taps, integer_mean = node.flag("count_include_pad"), node.flag("integer_mean")
    in_zero_point = node.zero_point("in_zero_point", x.dtype)
    multiplier = node.real("multiplier")
    low, high, zero_point = output_side(node)
    clamp_min, clamp_max = node.clamp()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        sums = np.empty(x.shape[3], np.int64)
        _average(
            inputs[0].reshape(-1), output.reshape(-1), sums, g, all_taps, integer_mean,
            in_zero_point, multiplier, low, high, zero_point, clamp_min, clamp_max, begin, end,
        )  # fmt: skip

    return run
