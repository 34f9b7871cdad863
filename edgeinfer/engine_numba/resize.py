"""Resizing of images. Tables of the file say which pixels are read, and with which weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.model_file import FileTensor
from edgeinfer.engine_numba.compile import kernel
from edgeinfer.engine_numba.exact import fma
from edgeinfer.engine_numba.node import ANY, QUANTIZED, Array, Node, Run
from edgeinfer.engine_numba.rounding import bounded

_NO_LIMIT = 2**31 - 1


def _images(node: Node, *dtypes: str) -> FileTensor:
    x, y = node.present(0, "x", *dtypes), node.y
    node.dtype(y, "y", x.dtype)
    node.rank(x, "x", 4, 4)
    node.rank(y, "y", 4, 4)
    node.shape(y, "y", (x.shape[0], *y.shape[1:3], x.shape[3]))
    return x


def _positions(node: Node, table: Array, what: str, size: int) -> None:
    inside = bool(((table >= 0) & (table < size)).all())
    node.require(
        inside and bool((np.diff(table) >= 0).all()),
        f"{what}: must be from 0 to {size - 1} and not descend",
    )


def _lines(shape: tuple[int, ...], begin: int, end: int) -> tuple[Array, Array]:
    """Image and line of rows [begin, end)."""
    rows = np.arange(begin, end)
    return rows // shape[1], rows % shape[1]


def resize_nearest(node: Node) -> Run:
    """x, rows, columns -> y"""
    x, y = _images(node, *ANY), node.y
    rows = node.constant(1, "rows", "int32", y.shape[1])
    columns = node.constant(2, "columns", "int32", y.shape[2])
    _positions(node, rows, "rows", x.shape[1])
    _positions(node, columns, "columns", x.shape[2])
    node.unused()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        images, lines = _lines(y.shape, begin, end)
        found = inputs[0][images, rows[lines]][:, columns]
        output.reshape(-1, *y.shape[2:])[begin:end] = found

    return run


def _weighted(node: Node, index: int, what: str, entries: int, size: int, one: int) -> Array:
    table = node.constant(index, what, "int32", entries * 3).reshape(entries, 3)
    for position in (0, 1):
        _positions(node, table[:, position], what, size)
    node.require(bool((table[:, 0] <= table[:, 1]).all()), f"{what}: positions of an entry descend")
    weights = table[:, 2]
    node.require(
        bool(((weights >= 0) & (weights <= one)).all()), f"{what}: weights must be 0 to {one}"
    )
    return table.astype(np.int64).reshape(-1)


@kernel
def _interpolate(
    x: Any, y: Any, rows: Any, columns: Any, in_h: Any, in_w: Any, out_h: Any, out_w: Any,
    channels: Any, bits: Any, half_away: Any, begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end), all in int64."""
    one = np.int64(1) << bits
    half = np.int64(1) << (2 * bits - 1)
    for r in range(begin, end):
        entry = r % out_h * 3
        top = (r // out_h * in_h + rows[entry]) * in_w
        bottom = (r // out_h * in_h + rows[entry + 1]) * in_w
        wy = rows[entry + 2]
        for ox in range(out_w):
            left, right, wx = columns[ox * 3], columns[ox * 3 + 1], columns[ox * 3 + 2]
            for c in range(channels):
                a = x[(top + left) * channels + c] * (one - wx)
                a += x[(top + right) * channels + c] * wx
                b = x[(bottom + left) * channels + c] * (one - wx)
                b += x[(bottom + right) * channels + c] * wx
                v = a * (one - wy) + b * wy
                if half_away and v < 0:
                    v = -((half - v) >> (2 * bits))
                else:
                    v = (v + half) >> (2 * bits)
                y[(r * out_w + ox) * channels + c] = v


def resize_bilinear(node: Node) -> Run:
    """x, rows, columns -> y"""
    x, y = _images(node, *QUANTIZED), node.y
    bits = node.integer("fraction_bits", 1, 20)
    half_away = node.flag("half_away")
    rows = _weighted(node, 1, "rows", y.shape[1], x.shape[1], 1 << bits)
    columns = _weighted(node, 2, "columns", y.shape[2], x.shape[2], 1 << bits)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _interpolate(
            inputs[0].reshape(-1), output.reshape(-1), rows, columns, x.shape[1], x.shape[2],
            y.shape[1], y.shape[2], y.shape[3], bits, half_away, begin, end,
        )  # fmt: skip

    return run


def _taps(node: Node, index: int, what: str, entries: int, taps: int, size: int) -> Any:
    table = node.constant(index, what, "int32", entries * taps)
    node.require(
        bool(((table >= 0) & (table < size)).all()), f"{what}: must be from 0 to {size - 1}"
    )
    weights = node.constant(index + 1, f"{what[:-1]}_weights", "float32", entries * taps)
    node.finite(weights, f"{what[:-1]}_weights")
    return table.astype(np.int64), weights


@kernel
def _weigh(
    x: Any, y: Any, rows: Any, row_weights: Any, columns: Any, column_weights: Any,
    in_h: Any, in_w: Any, out_h: Any, out_w: Any, channels: Any, low: Any, high: Any,
    begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end): over the columns of each row, then over rows; the first is a product."""
    row_taps, column_taps = rows.size // out_h, columns.size // out_w
    for r in range(begin, end):
        image = r // out_h * in_h
        for ox in range(out_w):
            for c in range(channels):
                total = np.float32(0)
                for i in range(row_taps):
                    entry = r % out_h * row_taps + i
                    line = (image + rows[entry]) * in_w
                    across = np.float32(0)
                    for j in range(column_taps):
                        column = ox * column_taps + j
                        value = x[(line + columns[column]) * channels + c]
                        if j == 0:
                            across = value * column_weights[column]
                        else:
                            across = fma(value, column_weights[column], across)
                    if i == 0:
                        total = across * row_weights[entry]
                    else:
                        total = fma(across, row_weights[entry], total)
                y[(r * out_w + ox) * channels + c] = bounded(total, low, high)


def resize_f32(node: Node) -> Run:
    """x, rows, row_weights, columns, column_weights -> y"""
    x, y = _images(node, "float32"), node.y
    row_taps = node.integer("row_taps", 1, _NO_LIMIT)
    column_taps = node.integer("column_taps", 1, _NO_LIMIT)
    rows, row_weights = _taps(node, 1, "rows", y.shape[1], row_taps, x.shape[1])
    columns, column_weights = _taps(node, 3, "columns", y.shape[2], column_taps, x.shape[2])
    low, high = np.float32(-np.inf), np.float32(np.inf)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _weigh(
            inputs[0].reshape(-1), output.reshape(-1), rows, row_weights, columns, column_weights,
            x.shape[1], x.shape[2], y.shape[1], y.shape[2], y.shape[3], low, high, begin, end,
        )  # fmt: skip

    return run
