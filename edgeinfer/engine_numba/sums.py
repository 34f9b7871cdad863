"""Sums over axes and softmax of quantised tensors.

Source: "MEAN and SUM" and "SOFTMAX" in docs/internals/numerics.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeinfer.convert.model_file import FileTensor
from edgeinfer.engine_numba.compile import kernel
from edgeinfer.engine_numba.elementwise import output_side, stored
from edgeinfer.engine_numba.node import (
    QUANTIZED,
    S8_S16,
    Array,
    Node,
    Run,
    outer_axes,
    row_elements,
)

_MOST_TERMS_8BIT = 2**23
_SMALLEST_NORMAL = 2.0**-126


class Folding:
    """Which elements make each element of a reduction over some axes."""

    def __init__(self, node: Node, x: FileTensor, mask: int) -> None:
        rank = len(x.shape)
        self.axes = tuple(axis for axis in range(rank) if mask >> axis & 1)
        self.kept = tuple(axis for axis in range(rank) if not mask >> axis & 1)
        y = node.y
        dropped = tuple(x.shape[axis] for axis in self.kept)
        ones = tuple(1 if axis in self.axes else dim for axis, dim in enumerate(x.shape))
        node.shape(y, "y", ones if len(y.shape) == rank else dropped)
        outer = outer_axes(rank)
        self.in_row = all(axis >= outer for axis in self.axes) and y.rows == x.rows
        if not self.in_row:
            node.whole(x, "x")
        self.per_row = row_elements(y.shape)
        self.terms = math.prod(x.shape[axis] for axis in self.axes)

    def of(self, x: Array, begin: int, end: int) -> Array:
        """[elements of y's rows [begin, end)][terms], each in ascending order of index."""
        if self.in_row:
            outer = outer_axes(x.ndim)
            inner = x.shape[outer:]
            band = x.reshape(-1, *inner)[begin:end]
            axes = [axis - outer + 1 for axis in self.axes]
            kept = [axis for axis in range(band.ndim) if axis not in axes]
            return np.ascontiguousarray(band.transpose(*kept, *axes)).reshape(-1, self.terms)
        lines = np.ascontiguousarray(x.transpose(*self.kept, *self.axes)).reshape(-1, self.terms)
        return lines[begin * self.per_row : end * self.per_row]

    def put(self, y: Array, values: Array, begin: int, end: int) -> None:
        """Store the results of these rows."""
        y.reshape(-1)[begin * self.per_row : end * self.per_row] = values


def folding(node: Node, x: FileTensor) -> Folding:
    """That of an operator with a mask of axes."""
    return Folding(node, x, node.integer("axes", 0, 2 ** len(x.shape) - 1))


def reduce_sum(node: Node) -> Run:
    """x -> y"""
    x = node.present(0, "x", *QUANTIZED)
    node.dtype(node.y, "y", x.dtype)
    fold = folding(node, x)
    if x.dtype != "int16":
        node.require(fold.terms <= _MOST_TERMS_8BIT, f"elements in a sum: {fold.terms}")
    multiplier, offset = node.real("multiplier"), node.real("offset")
    clamp_min, clamp_max = node.clamp()
    low, high = np.float32(clamp_min), np.float32(clamp_max)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        totals = fold.of(inputs[0], begin, end).sum(axis=1, dtype=np.int64).astype(np.float32)
        fold.put(output, stored(totals * multiplier + offset, low, high, 0), begin, end)

    return run


def accumulate_rows(node: Node) -> Run:
    """x -> y"""
    x = node.activation(0, "x", *QUANTIZED)
    node.rank(x, "x", 4, 4)
    node.dtype(node.y, "y", "int32")
    images, height, width, channels = x.shape
    node.shape(node.y, "y", (images, height, 1, channels))
    largest = max(abs(int(end)) for end in (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max))
    pixels = height * width
    node.require(pixels * largest < 2**31, f"pixels of an image: {pixels}, their sum needs int32")
    node.unused()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        lines = inputs[0].reshape(-1, width, channels)[begin:end].sum(axis=1, dtype=np.int64)
        sums = output.reshape(-1, channels)
        for row, line in enumerate(lines, begin):
            sums[row] = line + sums[row - 1] if row % height else line

    return run


def rescale_sums(node: Node) -> Run:
    """x -> y"""
    x = node.activation(0, "x", "int32")
    node.dtype(node.y, "y", *QUANTIZED)
    node.rank(x, "x", 4, 4)
    images, height, _, channels = x.shape
    node.shape(x, "x", (images, height, 1, channels))
    dropped = (images, channels)
    node.shape(node.y, "y", dropped if len(node.y.shape) == 2 else (images, 1, 1, channels))
    kind, divisor = node.integer("kind", 0, 2), node.integer("divisor", 1, 2**31 - 1)
    zero_sum = int(node.params["zero_sum"])
    multiplier, offset = node.real("multiplier"), node.real("offset")
    low, high, zero_point = output_side(node)
    clamp = node.clamp()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        sums = inputs[0].reshape(images, height, channels)[begin:end, -1].astype(np.int64)
        if kind == 0:
            y = stored(sums.astype(np.float32) * multiplier + offset, low, high, zero_point)
        elif kind == 1:
            scale = multiplier / np.float32(divisor)
            scaled = (sums - zero_sum).astype(np.float32) * scale
            y = stored(scaled, low, high, zero_point)
        else:
            y = np.clip(np.sign(sums) * ((np.abs(sums) + divisor // 2) // divisor), *clamp)
        output.reshape(images, channels)[begin:end] = y

    return run


@kernel
def _softmax(x: Any, table: Any, y: Any, size: Any, wide: Any, scale: Any) -> None:
    """Vectors of so many elements; y: e / s where scale is 0, else e * (1 / (s * scale))."""
    for first in range(0, x.size, size):
        largest = x[first]
        for i in range(size):
            largest = max(largest, x[first + i])
        total = np.float32(0)
        for i in range(size):
            d = np.int64(largest) - np.int64(x[first + i])
            if wide:
                e = table[d >> 8] * table[256 + (d & 255)]
            else:
                e = table[d]
            y[first + i] = e
            total += e
        if scale == 0:
            for i in range(size):
                y[first + i] = y[first + i] / total
        else:
            inverse = np.float32(1) / (total * scale)
            for i in range(size):
                y[first + i] = y[first + i] * inverse


def softmax(node: Node) -> Run:
    """x, table -> y"""
    x = node.same(0, "x", *S8_S16)
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", *QUANTIZED, "float32")
    wide = x.dtype == "int16"
    table = node.constant(1, "table", "float32", 512 if wide else 256)
    node.require(
        bool(((table >= 0) & (table <= 1)).all() and (table[::256] == 1).all()),
        "table: every entry must be from 0 to 1, and those of 0 must be 1",
    )
    size, per_row = x.shape[-1], row_elements(x.shape)
    if node.y.dtype == "float32":
        scale, low, high, zero_point = np.float32(0), np.float32(0), np.float32(0), 0
    else:
        scale = node.real("out_scale")
        node.require(
            float(scale) >= _SMALLEST_NORMAL, "out_scale: must be a normal number above zero"
        )
        zero_point = node.zero_point("out_zero_point", node.y.dtype)
        low, high = (np.float32(end - zero_point) for end in node.clamp())

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        vectors = inputs[0].reshape(-1)[begin * per_row : end * per_row]
        parts = np.empty(vectors.size, np.float32)
        _softmax(vectors, table, parts, size, wide, scale)
        if scale != 0:  # halves go up here, unlike elsewhere
            parts = stored(np.floor(parts + np.float32(0.5)), low, high, zero_point)
        output.reshape(-1)[begin * per_row : end * per_row] = parts

    return run
