"""Quantised operators that make an element from an element: arithmetic, tables, conversions.

Source: docs/internals/numerics.md. Tables and conversions are a few NumPy operations, each of them
exact or one float32 rounding; what networks spend time on is compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import kernel
from edgeinfer.engine_numba.node import (
    ANY,
    QUANTIZED,
    S8_S16,
    Array,
    Node,
    Run,
    band,
    row_elements,
)
from edgeinfer.engine_numba.rounding import requantized

_STORED = ("int8", "uint8", "int16", "int32")


def _flat(array: Array, per_row: int, begin: int, end: int) -> Array:
    return array.reshape(-1)[begin * per_row : end * per_row]


@kernel
def _add(
    a: Any, b: Any, y: Any, a_multiplier: Any, b_multiplier: Any, bias: Any, shift: Any,
    zero_point: Any, low: Any, high: Any,
) -> None:  # fmt: skip
    """Sums fit int64, and for int8 int32 too: the check of the operator says so."""
    for i in range(y.size):
        total = a[i] * a_multiplier + b[i] * b_multiplier + bias
        total = (total >> shift) + zero_point
        if total < low:
            total = low
        if total > high:
            total = high
        y[i] = total


def add(node: Node) -> Run:
    """a, b -> y"""
    y = node.y
    node.dtype(y, "y", *S8_S16)
    _same_dtypes(node)
    node.broadcast("a", "b")
    a_multiplier, b_multiplier = int(node.params["a_multiplier"]), int(node.params["b_multiplier"])
    bias = (int(node.params["bias_high"]) << 32) | (int(node.params["bias_low"]) & 0xFFFFFFFF)
    zero_point = node.zero_point("out_zero_point", y.dtype)
    low, high = node.clamp()
    largest = 128 * (abs(a_multiplier) + abs(b_multiplier)) + abs(bias)
    if y.dtype == "int8":
        shift = node.integer("shift", 0, 30)
        total = "128 * (|a_multiplier| + |b_multiplier|) + |bias|"
        node.require(largest < 2**31, f"{total}: is {largest}, must be below 2^31")
    else:
        shift = node.integer("shift", 0, 62)
        node.require(abs(bias) <= 2**62, f"bias: is {bias}, must be at most 2^62")
    shape = y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _add(
            band(inputs[0], shape, begin, end), band(inputs[1], shape, begin, end),
            band(output, shape, begin, end), a_multiplier, b_multiplier, bias, shift,
            zero_point, low, high,
        )  # fmt: skip

    return run


@kernel
def _multiply(
    a: Any, b: Any, y: Any, a_zero: Any, b_zero: Any, multiplier: Any, low: Any, high: Any,
    zero_point: Any,
) -> None:  # fmt: skip
    for i in range(y.size):
        product = (a[i] - a_zero) * (b[i] - b_zero)
        y[i] = requantized(np.float32(product) * multiplier, low, high, zero_point)


def mul(node: Node) -> Run:
    """a, b -> y"""
    y = node.y
    node.dtype(y, "y", *S8_S16)
    _same_dtypes(node)
    node.broadcast("a", "b")
    a_zero = node.zero_point("a_zero_point", y.dtype)
    b_zero = node.zero_point("b_zero_point", y.dtype)
    multiplier = node.real("multiplier")
    low, high, zero_point = output_side(node)
    shape = y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _multiply(
            band(inputs[0], shape, begin, end), band(inputs[1], shape, begin, end),
            band(output, shape, begin, end), a_zero, b_zero, multiplier, low, high, zero_point,
        )  # fmt: skip

    return run


def _same_dtypes(node: Node) -> None:
    for index, what in enumerate("ab"):
        node.present(index, what, node.y.dtype)


def output_side(node: Node, zero_point: str = "out_zero_point") -> tuple[Any, Any, int]:
    """Bounds as float32, the zero point taken off, and the zero point."""
    zero = node.zero_point(zero_point, node.y.dtype)
    low, high = node.clamp()
    return np.float32(low - zero), np.float32(high - zero), zero


def _extreme(node: Node, function: Any) -> Run:
    node.dtype(node.y, "y", *_STORED)
    _same_dtypes(node)
    node.broadcast("a", "b")
    node.unused()
    shape = node.y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        function(
            band(inputs[0], shape, begin, end),
            band(inputs[1], shape, begin, end),
            out=band(output, shape, begin, end),
        )

    return run


def maximum(node: Node) -> Run:
    """a, b -> y"""
    return _extreme(node, np.maximum)


def minimum(node: Node) -> Run:
    """a, b -> y"""
    return _extreme(node, np.minimum)


def lut8(node: Node) -> Run:
    """x, table -> y"""
    node.same(0, "x", "int8", "uint8")
    table = node.constant(1, "table", ANY, 256)
    node.dtype(node.y, "y", table.dtype.name)
    node.unused()
    per_row = row_elements(node.y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        x = _flat(inputs[0], per_row, begin, end).view(np.uint8)
        _flat(output, per_row, begin, end)[:] = table[x]

    return run


def lut16(node: Node) -> Run:
    """x, table -> y"""
    node.same(0, "x", "int16")
    node.dtype(node.y, "y", "int16")
    table = node.constant(1, "table", "int16", 513).astype(np.int32)
    node.unused()
    per_row = row_elements(node.y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        x = _flat(inputs[0], per_row, begin, end).astype(np.int32)
        i = 256 + (x >> 7)
        below = table[i]
        between = ((table[i + 1] - below) * (x & 127) + 64) >> 7
        _flat(output, per_row, begin, end)[:] = below + between

    return run


def stored(scaled: Array, low: Any, high: Any, zero_point: int) -> Array:
    """clamp(rne(scaled) + zero_point), as `rounding.requantized`, of many."""
    bounded = np.minimum(np.maximum(scaled, low), high)
    whole: Array = np.rint(bounded).astype(np.int32) + np.int32(zero_point)
    return whole


def requantize(node: Node) -> Run:
    """x -> y"""
    x = node.same(0, "x", *_STORED)
    node.dtype(node.y, "y", *QUANTIZED)
    in_zero_point = node.zero_point("in_zero_point", x.dtype)
    multiplier = node.real("multiplier")
    low, high, zero_point = output_side(node)
    per_row = row_elements(node.y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        steps = _flat(inputs[0], per_row, begin, end).astype(np.int64) - in_zero_point
        scaled = steps.astype(np.float32) * multiplier
        _flat(output, per_row, begin, end)[:] = stored(scaled, low, high, zero_point)

    return run


def quantize(node: Node) -> Run:
    """x -> y"""
    node.same(0, "x", "float32")
    node.dtype(node.y, "y", *QUANTIZED)
    factor = node.real("factor", positive=True)
    divide = node.flag("divide")
    low, high, zero_point = output_side(node, "zero_point")
    per_row = row_elements(node.y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        x = _flat(inputs[0], per_row, begin, end)
        scaled = x / factor if divide else x * factor
        scaled = np.where(np.isnan(scaled), np.float32(0), scaled)
        _flat(output, per_row, begin, end)[:] = stored(scaled, low, high, zero_point)

    return run


def dequantize(node: Node) -> Run:
    """x -> y"""
    x = node.same(0, "x", *_STORED)
    node.dtype(node.y, "y", "float32")
    scale = node.real("scale")
    zero_point = node.zero_point("zero_point", x.dtype)
    per_row = row_elements(node.y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        steps = _flat(inputs[0], per_row, begin, end).astype(np.int64) - zero_point
        _flat(output, per_row, begin, end)[:] = steps.astype(np.float32) * scale

    return run
