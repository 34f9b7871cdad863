"""Sums of float32: reductions, softmax, normalisation, pools.

Source: "Sums of float32" in docs/internals/numerics.md. A sum has 16 parts; part i is made of the
elements whose number is i modulo 16, and parts are joined by halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba import float_math as f
from edgeinfer.engine_numba.compile import inline, kernel
from edgeinfer.engine_numba.double_math import log_f64
from edgeinfer.engine_numba.exact import absolute, fma, square_root
from edgeinfer.engine_numba.node import Array, Node, Run, row_elements
from edgeinfer.engine_numba.pooling import taps_inside
from edgeinfer.engine_numba.rounding import bounded
from edgeinfer.engine_numba.sums import folding
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

_ZERO, _ONE = f.ZERO, f.ONE
_INFINITY, _MINUS_INFINITY = np.float32(np.inf), np.float32(-np.inf)
_LAST_KIND = 9
_exp, _maximum, _minimum = f.exp, f.maximum, f.minimum

# How elements join a part, and parts each other.
_SUM, _SQUARES, _MAGNITUDES, _PRODUCT, _LARGEST, _SMALLEST, _EXPONENTIALS = range(7)
# By kind: 0 sum, 1 mean, 2 sum of squares, 3 l2, 4 l1, 5 product, 6 largest, 7 smallest, 8 log of
# the sum, 9 log of the sum of exponentials.
_JOINS = (
    _SUM, _SUM, _SQUARES, _SQUARES, _MAGNITUDES, _PRODUCT, _LARGEST, _SMALLEST, _SUM, _EXPONENTIALS,
)  # fmt: skip


@inline
def _sum_parts(parts: Any) -> Any:
    half = 8
    while half > 0:
        for i in range(half):
            parts[i] += parts[i + half]
        half //= 2
    return parts[0]


@kernel
def _fold(x: Any, first: Any, n: Any, join: Any, reference: Any, parts: Any) -> Any:
    """The joined elements x[first] to x[first + n - 1]; of _EXPONENTIALS, e^(x - reference)."""
    start = _ZERO
    if join == _PRODUCT:
        start = _ONE
    elif join == _LARGEST:
        start = _MINUS_INFINITY
    elif join == _SMALLEST:
        start = _INFINITY
    for i in range(16):
        parts[i] = start
    for i in range(n):
        value, part = x[first + i], parts[i % 16]
        if join == _SUM:
            part = part + value
        elif join == _SQUARES:
            part = fma(value, value, part)
        elif join == _MAGNITUDES:
            part = part + absolute(value)
        elif join == _PRODUCT:
            part = part * value
        elif join == _LARGEST:
            part = _maximum(part, value)
        elif join == _SMALLEST:
            part = _minimum(part, value)
        else:
            part = part + _exp(value - reference)
        parts[i % 16] = part
    half = 8
    while half > 0:
        for i in range(half):
            if join == _PRODUCT:
                parts[i] = parts[i] * parts[i + half]
            elif join == _LARGEST:
                parts[i] = _maximum(parts[i], parts[i + half])
            elif join == _SMALLEST:
                parts[i] = _minimum(parts[i], parts[i + half])
            else:
                parts[i] = parts[i] + parts[i + half]
        half //= 2
    return parts[0]


@kernel
def _reduce(x: Any, y: Any, n: Any, kind: Any, join: Any, low: Any, high: Any) -> None:
    """y[i] of the n elements from x[i * n] on."""
    parts = np.empty(16, np.float32)
    for i in range(y.size):
        reference = _ZERO
        if kind == 9:
            largest = _fold(x, i * n, n, _LARGEST, _ZERO, parts)
            reference = largest if largest - largest == _ZERO else _ZERO
        value = _fold(x, i * n, n, join, reference, parts)
        if kind == 1:
            value = value / np.float32(n)
        elif kind == 3:
            value = square_root(value)
        elif kind == 8:
            value = np.float32(log_f64(np.float64(value)))
        elif kind == 9:
            value = reference + np.float32(log_f64(np.float64(value)))
        y[i] = bounded(value, low, high)


def reduce_f32(node: Node) -> Run:
    """x -> y"""
    x = node.present(0, "x", "float32")
    node.dtype(node.y, "y", "float32")
    fold = folding(node, x)
    kind = node.integer("kind", 0, _LAST_KIND)
    low, high = node.bounds()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        values = fold.of(inputs[0], begin, end)
        found = np.empty(len(values), np.float32)
        _reduce(values.reshape(-1), found, fold.terms, kind, _JOINS[kind], low, high)
        fold.put(output, found, begin, end)

    return run


@kernel
def _softmax(x: Any, y: Any, size: Any, beta: Any, logarithm: Any, low: Any, high: Any) -> None:
    """Vectors of so many elements. A NaN that is passed over shows in its exponential."""
    parts = np.empty(16, np.float32)
    for first in range(0, x.size, size):
        largest = _MINUS_INFINITY
        for i in range(size):
            if x[first + i] > largest:
                largest = x[first + i]
        for i in range(16):
            parts[i] = _ZERO
        for i in range(size):
            t = (x[first + i] - largest) * beta
            e = _exp(t)
            parts[i % 16] += e
            y[first + i] = t if logarithm else e
        total = _sum_parts(parts)
        if logarithm:
            log_total = np.float32(log_f64(np.float64(total)))
            for i in range(size):
                y[first + i] = bounded(y[first + i] - log_total, low, high)
        else:
            inverse = _ONE / total
            for i in range(size):
                y[first + i] = bounded(y[first + i] * inverse, low, high)


def softmax_f32(node: Node) -> Run:
    """x -> y"""
    x = node.same(0, "x", "float32")
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", "float32")
    beta = node.real("beta", positive=True)
    logarithm = node.flag("logarithm")
    size, per_row = x.shape[-1], row_elements(x.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        part = slice(begin * per_row, end * per_row)
        _softmax(
            inputs[0].reshape(-1)[part], output.reshape(-1)[part], size, beta, logarithm,
            _MINUS_INFINITY, _INFINITY,
        )  # fmt: skip

    return run


@kernel
def _normalize(
    x: Any, y: Any, scale: Any, bias: Any, epsilon: Any, centred: Any, low: Any, high: Any,
    size: Any,
) -> None:  # fmt: skip
    """Vectors of so many elements; an absent scale or bias has no element."""
    parts = np.empty(16, np.float32)
    n = np.float32(size)
    for first in range(0, x.size, size):
        mean = _ZERO
        if centred:
            mean = _fold(x, first, size, _SUM, _ZERO, parts) / n
        for i in range(16):
            parts[i] = _ZERO
        for i in range(size):
            d = x[first + i] - mean
            parts[i % 16] = fma(d, d, parts[i % 16])
        r = _ONE / square_root(_sum_parts(parts) / n + epsilon)
        for i in range(size):
            v = (x[first + i] - mean) * r
            if bias.size > 0:
                v = fma(v, scale[i] if scale.size > 0 else _ONE, bias[i])
            elif scale.size > 0:
                v = v * scale[i]
            y[first + i] = bounded(v, low, high)


def layer_norm_f32(node: Node) -> Run:
    """x, scale?, bias? -> y"""
    x = node.same(0, "x", "float32")
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", "float32")
    size, per_row = x.shape[-1], row_elements(x.shape)
    for index, what in ((1, "scale"), (2, "bias")):
        if index < len(node.inputs) and node.inputs[index] is not None:
            tensor = node.present(index, what, "float32")
            node.shape(tensor, what, (size,))
            node.whole(tensor, what)
    centred, epsilon = node.flag("centred"), node.real("epsilon")

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        part = slice(begin * per_row, end * per_row)
        _normalize(
            inputs[0].reshape(-1)[part], output.reshape(-1)[part], _optional(inputs, 1),
            _optional(inputs, 2), epsilon, centred, _MINUS_INFINITY, _INFINITY, size,
        )  # fmt: skip

    return run


def _optional(inputs: Any, index: int) -> Array:
    found = inputs[index] if index < len(inputs) else None
    return np.empty(0, np.float32) if found is None else found


@kernel
def _pool(
    x: Any, y: Any, g: Any, mean: Any, all_taps: Any, low: Any, high: Any, begin: Any, end: Any
) -> None:
    """Rows [begin, end): the taps inside, row by row."""
    channels = g[IN_C]
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        top = r % g[OUT_H] * g[STRIDE_H] - g[PAD_TOP]
        y0, y1 = taps_inside(top, g[KERNEL_H], g[DILATION_H], g[IN_H])
        for ox in range(g[OUT_W]):
            left = ox * g[STRIDE_W] - g[PAD_LEFT]
            x0, x1 = taps_inside(left, g[KERNEL_W], g[DILATION_W], g[IN_W])
            inside = (y1 - y0) * (x1 - x0)
            count = np.float32(g[KERNEL_H] * g[KERNEL_W] if all_taps else inside)
            out = (r * g[OUT_W] + ox) * channels
            for c in range(channels):
                y[out + c] = _ZERO if mean else _MINUS_INFINITY
            for ky in range(y0, y1):
                line = (image + top + ky * g[DILATION_H]) * g[IN_W] + left
                for kx in range(x0, x1):
                    source = (line + kx * g[DILATION_W]) * channels
                    if mean:
                        for c in range(channels):
                            y[out + c] += x[source + c]
                    else:
                        for c in range(channels):
                            y[out + c] = _maximum(y[out + c], x[source + c])
            for c in range(channels):
                value = y[out + c] / count if mean else y[out + c]
                y[out + c] = bounded(value, low, high)


def pool2d_f32(node: Node) -> Run:
    """x -> y"""
    _, g = pool_geometry(node, "float32")
    mean, all_taps = node.flag("kind"), node.flag("count_include_pad")
    low, high = node.bounds()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _pool(inputs[0].reshape(-1), output.reshape(-1), g, mean, all_taps, low, high, begin, end)

    return run
