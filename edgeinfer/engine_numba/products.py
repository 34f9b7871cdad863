"""Sums of products of integers: convolutions, fully connected layers, matrix products.

Source: "Requantise an integer sum" in docs/internals/numerics.md, "Packed weights" and "Sums,
rounding, overflow" in docs/internals/kernels.md.

Weights leave the packed layout once, when a model is loaded: output channel after output channel,
int16, the values of K side by side and rounded up to 16 with zeros. A window of the input is copied
into an array of the same order, and a sum is then one dot product of two arrays, which LLVM makes
of the CPU's products of pairs. Sums have the dtype of the bias: int32, modulo 2^32, for int8
activations and int64 for int16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.model_file import FileTensor
from edgeinfer.engine_numba import four_bits
from edgeinfer.engine_numba.compile import kernel
from edgeinfer.engine_numba.node import S8_S16, Array, Node, Run, row_elements
from edgeinfer.engine_numba.rounding import requantized
from edgeinfer.engine_numba.windows import (
    DILATION_H,
    DILATION_W,
    GROUPS,
    IN_C,
    IN_H,
    IN_W,
    KERNEL_H,
    KERNEL_W,
    OUT_C,
    OUT_H,
    OUT_W,
    PAD_LEFT,
    PAD_TOP,
    STRIDE_H,
    STRIDE_W,
    check_reach,
    check_transposed_reach,
    divided,
    geometry,
    images,
    zero_value,
)

_BIAS = {"int8": "int32", "int16": "int64"}


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class _Channels:
    """Weights, bias and multipliers of an operation, and the output side's numbers."""

    def __init__(self, node: Node, dtype: str, groups: int, segments: int, length: int) -> None:
        y = node.y
        per_group = y.shape[-1] // groups
        tiles, blocks = -(-per_group // 16), -(-length // 4)
        bias = node.constant(2, "bias", _BIAS[dtype], groups * tiles * 16)
        multiplier = node.constant(3, "multiplier", "float32", groups * tiles * 16)
        node.finite(multiplier, "multiplier")
        packed = node.constant(1, "weights", "int8", groups * tiles * segments * blocks * 64)
        dense = packed.reshape(groups, tiles, segments, blocks, 16, 4).transpose(0, 1, 4, 2, 3, 5)
        dense = dense.reshape(groups, tiles * 16, segments, blocks * 4)
        used = dense[:, :per_group, :, :length]
        node.require(
            np.count_nonzero(dense) == np.count_nonzero(used),
            "weights: padding of the packed layout is not zero",
        )
        self.weights = used.reshape(groups * per_group, segments * length)
        self.bias = bias.reshape(groups, -1)[:, :per_group].reshape(-1).copy()
        self.multiplier = multiplier.reshape(groups, -1)[:, :per_group].reshape(-1).copy()
        self.out = _output_side(node)

    def rows_of_16(self) -> Array:
        """Weights as int16, each output channel's K rounded up to 16 with zeros."""
        channels, k = self.weights.shape
        rows = np.zeros((channels, _up(k, 16)), np.int16)
        rows[:, :k] = self.weights
        return rows.reshape(-1)


def _output_side(node: Node) -> tuple[np.float32, np.float32, int]:
    """Bounds with the zero point taken off, and the zero point."""
    zero_point = node.zero_point("out_zero_point", node.y.dtype)
    low, high = node.clamp()
    return np.float32(low - zero_point), np.float32(high - zero_point), zero_point


@kernel
def _convolve(
    x: Any, w: Any, bias: Any, multiplier: Any, zero: Any, y: Any, patch: Any, g: Any,
    low: Any, high: Any, zero_point: Any, begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end) of a convolution; `patch` holds a window of a group."""
    group_in = g[IN_C] // g[GROUPS]
    group_out = g[OUT_C] // g[GROUPS]
    k = patch.size
    run = g[KERNEL_W] * group_in
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        top = r % g[OUT_H] * g[STRIDE_H] - g[PAD_TOP]
        for ox in range(g[OUT_W]):
            left = ox * g[STRIDE_W] - g[PAD_LEFT]
            right = left + (g[KERNEL_W] - 1) * g[DILATION_W]
            together = g[GROUPS] == 1 and g[DILATION_W] == 1 and left >= 0 and right < g[IN_W]
            for group in range(g[GROUPS]):
                at = 0
                for ky in range(g[KERNEL_H]):
                    iy = top + ky * g[DILATION_H]
                    line = (image + iy) * g[IN_W]
                    if iy < 0 or iy >= g[IN_H]:
                        for i in range(run):
                            patch[at + i] = zero
                        at += run
                    elif together:
                        source = (line + left) * g[IN_C]
                        for i in range(run):
                            patch[at + i] = x[source + i]
                        at += run
                    else:
                        for kx in range(g[KERNEL_W]):
                            ix = left + kx * g[DILATION_W]
                            if ix < 0 or ix >= g[IN_W]:
                                for i in range(group_in):
                                    patch[at + i] = zero
                            else:
                                source = (line + ix) * g[IN_C] + group * group_in
                                for i in range(group_in):
                                    patch[at + i] = x[source + i]
                            at += group_in
                first = group * group_out
                out = (r * g[OUT_W] + ox) * g[OUT_C] + first
                for n in range(group_out):
                    total = bias[first + n]
                    w_at = (first + n) * k
                    for i in range(k):
                        total = bias.dtype.type(
                            total + bias.dtype.type(patch[i]) * bias.dtype.type(w[w_at + i])
                        )
                    scaled = np.float32(total) * multiplier[first + n]
                    y[out + n] = requantized(scaled, low, high, zero_point)


def _has_four_bits(node: Node, x: FileTensor) -> bool:
    weights = node.inputs[1]
    if weights is None or not weights.scheme:
        return False
    node.dtype(x, "x", "int8")
    return True


def conv2d(node: Node) -> Run:
    """x, weights, bias, multiplier, zero? -> y"""
    x, _ = images(node, *S8_S16)
    g = geometry(node, x, divided(node, x))
    has_zero = len(node.inputs) > 4 and node.inputs[4] is not None
    check_reach(node, g, has_zero=has_zero)
    groups, taps = int(g[GROUPS]), int(g[KERNEL_H] * g[KERNEL_W])
    group_in = x.shape[3] // groups
    if _has_four_bits(node, x):
        return four_bits.convolution(
            node, taps * group_in, zero_value(node, 4, x), g, _output_side(node)
        )
    if groups == 1 and g[DILATION_W] == 1:
        channels = _Channels(node, x.dtype, 1, int(g[KERNEL_H]), int(g[KERNEL_W]) * group_in)
    else:
        channels = _Channels(node, x.dtype, groups, taps, group_in)
    return _convolution(channels, zero_value(node, 4, x), g)


def _convolution(channels: _Channels, zero: Any, g: Array) -> Run:
    weights = channels.rows_of_16()
    k = weights.size // channels.weights.shape[0]
    bias, multiplier, (low, high, zero_point) = channels.bias, channels.multiplier, channels.out
    zero = np.int16(zero)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        patch = np.zeros(k, np.int16)  # what is beyond K stays 0
        _convolve(
            inputs[0].reshape(-1), weights, bias, multiplier, zero, output.reshape(-1), patch, g,
            low, high, zero_point, begin, end,
        )  # fmt: skip

    return run


def fully_connected(node: Node) -> Run:
    """x, weights, bias, multiplier -> y: a convolution of as many pixels as there are vectors."""
    x = node.activation(0, "x", *S8_S16)
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", x.dtype)
    node.shape(node.y, "y", (*x.shape[:-1], *node.y.shape[-1:]))
    node.rank(node.y, "y", 1)
    vectors = row_elements(node.y.shape) // node.y.shape[-1]
    rows = node.y.rows
    g = np.array(
        [rows, vectors, x.shape[-1], rows, vectors, node.y.shape[-1], 1, 1, 1, 1, 1, 1, 0, 0, 1],
        np.int64,
    )
    if _has_four_bits(node, x):
        return four_bits.convolution(node, x.shape[-1], 0, g, _output_side(node))
    return _convolution(_Channels(node, x.dtype, 1, 1, x.shape[-1]), 0, g)


@kernel
def _convolve_depthwise(
    x: Any, w: Any, bias: Any, multiplier: Any, zero: Any, y: Any, sums: Any, g: Any,
    low: Any, high: Any, zero_point: Any, begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end); w is [tap][channel], `sums` has an entry for each output channel."""
    channels = g[OUT_C]
    each = channels // g[IN_C]
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        top = r % g[OUT_H] * g[STRIDE_H] - g[PAD_TOP]
        for ox in range(g[OUT_W]):
            left = ox * g[STRIDE_W] - g[PAD_LEFT]
            for c in range(channels):
                sums[c] = bias[c]
            for ky in range(g[KERNEL_H]):
                iy = top + ky * g[DILATION_H]
                line = (image + iy) * g[IN_W]
                for kx in range(g[KERNEL_W]):
                    ix = left + kx * g[DILATION_W]
                    tap = (ky * g[KERNEL_W] + kx) * channels
                    if iy < 0 or iy >= g[IN_H] or ix < 0 or ix >= g[IN_W]:
                        for c in range(channels):
                            sums[c] += bias.dtype.type(w[tap + c]) * bias.dtype.type(zero)
                    elif each == 1:
                        source = (line + ix) * g[IN_C]
                        for c in range(channels):
                            sums[c] += bias.dtype.type(w[tap + c]) * bias.dtype.type(x[source + c])
                    else:
                        source = (line + ix) * g[IN_C]
                        for c in range(channels):
                            value = bias.dtype.type(x[source + c // each])
                            sums[c] += bias.dtype.type(w[tap + c]) * value
            out = (r * g[OUT_W] + ox) * channels
            for c in range(channels):
                scaled = np.float32(sums[c]) * multiplier[c]
                y[out + c] = requantized(scaled, low, high, zero_point)


def depthwise_conv2d(node: Node) -> Run:
    """x, weights, bias, multiplier, zero? -> y"""
    x, y = images(node, *S8_S16)
    g = geometry(node, x)
    has_zero = len(node.inputs) > 4 and node.inputs[4] is not None
    check_reach(node, g, has_zero=has_zero)
    each = node.integer("multiplier", 1, y.shape[3])
    node.shape(y, "y", (*y.shape[:3], x.shape[3] * each))
    channels = _Channels(node, x.dtype, 1, 1, int(g[KERNEL_H] * g[KERNEL_W]))
    weights = channels.weights.T.astype(np.int16).reshape(-1)
    bias, multiplier, (low, high, zero_point) = channels.bias, channels.multiplier, channels.out
    zero = np.int16(zero_value(node, 4, x))

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        sums = np.empty_like(bias)
        _convolve_depthwise(
            inputs[0].reshape(-1), weights, bias, multiplier, zero, output.reshape(-1), sums, g,
            low, high, zero_point, begin, end,
        )  # fmt: skip

    return run


@kernel
def _convolve_transposed(
    x: Any, w: Any, bias: Any, multiplier: Any, in_zero_point: Any, y: Any, sums: Any, g: Any,
    low: Any, high: Any, zero_point: Any, begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end); w is [output channel][tap][input channel of the group]."""
    group_in = g[IN_C] // g[GROUPS]
    group_out = g[OUT_C] // g[GROUPS]
    taps = g[KERNEL_H] * g[KERNEL_W]
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        bottom = r % g[OUT_H] + g[PAD_TOP]
        for ox in range(g[OUT_W]):
            for n in range(g[OUT_C]):
                sums[n] = bias[n]
            for ky in range(g[KERNEL_H]):
                up = bottom - ky * g[DILATION_H]
                if up < 0 or up % g[STRIDE_H] != 0 or up // g[STRIDE_H] >= g[IN_H]:
                    continue
                line = (image + up // g[STRIDE_H]) * g[IN_W]
                for kx in range(g[KERNEL_W]):
                    across = ox + g[PAD_LEFT] - kx * g[DILATION_W]
                    if across < 0 or across % g[STRIDE_W] != 0:
                        continue
                    if across // g[STRIDE_W] >= g[IN_W]:
                        continue
                    pixel = (line + across // g[STRIDE_W]) * g[IN_C]
                    for n in range(g[OUT_C]):
                        source = pixel + n // group_out * group_in
                        at = (n * taps + ky * g[KERNEL_W] + kx) * group_in
                        total = sums[n]
                        for c in range(group_in):
                            value = bias.dtype.type(x[source + c]) - in_zero_point
                            total += bias.dtype.type(w[at + c]) * bias.dtype.type(value)
                        sums[n] = total
            out = (r * g[OUT_W] + ox) * g[OUT_C]
            for n in range(g[OUT_C]):
                scaled = np.float32(sums[n]) * multiplier[n]
                y[out + n] = requantized(scaled, low, high, zero_point)


def transpose_conv2d(node: Node) -> Run:
    """x, weights, bias, multiplier -> y"""
    x, _ = images(node, *S8_S16)
    g = geometry(node, x, divided(node, x))
    check_transposed_reach(node, g)
    groups = int(g[GROUPS])
    taps = int(g[KERNEL_H] * g[KERNEL_W])
    channels = _Channels(node, x.dtype, groups, taps, x.shape[3] // groups)
    in_zero_point = node.zero_point("in_zero_point", x.dtype)
    weights = channels.weights.astype(np.int16).reshape(-1)
    bias, multiplier, (low, high, zero_point) = channels.bias, channels.multiplier, channels.out

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        sums = np.empty_like(bias)
        _convolve_transposed(
            inputs[0].reshape(-1), weights, bias, multiplier, in_zero_point, output.reshape(-1),
            sums, g, low, high, zero_point, begin, end,
        )  # fmt: skip

    return run


@kernel
def _multiply_lines(
    a: Any, b: Any, y: Any, n: Any, k: Any, nothing: Any, multiplier: Any,
    low: Any, high: Any, zero_point: Any,
) -> None:  # fmt: skip
    """Lines of a matrix product: a [lines][k], b [n][k], sums of the dtype of nothing[0]."""
    for line in range(a.size // k):
        for j in range(n):
            total = nothing[0]
            for i in range(k):
                total = nothing.dtype.type(
                    total + nothing.dtype.type(a[line * k + i]) * nothing.dtype.type(b[j * k + i])
                )
            scaled = np.float32(total) * multiplier
            y[line * n + j] = requantized(scaled, low, high, zero_point)


def check_matrices(node: Node, *dtypes: str) -> bool:
    """Shapes of a matrix product; whether b is transposed."""
    y = node.y
    node.rank(y, "y", 2)
    a, b = node.present(0, "a", *dtypes), node.present(1, "b", *dtypes)
    node.dtype(y, "y", a.dtype)
    node.dtype(b, "b", a.dtype)
    transposed = node.flag("transpose_b")
    for tensor, what in ((a, "a"), (b, "b")):
        node.rank(tensor, what, len(y.shape), len(y.shape))
        node.require(
            all(own in (1, dim) for own, dim in zip(tensor.shape[:-2], y.shape[:-2], strict=True)),
            f"{what}: batch axes {tensor.shape[:-2]} do not fit {y.shape[:-2]}",
        )
    k, n = a.shape[-1], y.shape[-1]
    node.shape(b, "b", (*b.shape[:-2], *((n, k) if transposed else (k, n))))
    node.shape(a, "a", (*a.shape[:-2], y.shape[-2], k))
    if len(b.shape) < 4:
        node.whole(b, "b")
    return transposed


def matrices(a: Array, b: Array, y: Array, begin: int, end: int) -> Any:
    """For rows [begin, end) of y: (lines of a, matrix b, lines of y) of each matrix they touch."""
    lines_per_row = 1 if y.ndim < 4 else y.shape[-2]
    first, last = begin * lines_per_row, end * lines_per_row
    batch = y.shape[:-2]
    a_all = np.broadcast_to(a, (*batch, *a.shape[-2:]))
    b_all = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    lines = y.shape[-2]
    while first < last:
        index = np.unravel_index(first // lines, batch) if batch else ()
        line = first % lines
        stop = min(line + last - first, lines)
        yield a_all[index][line:stop], b_all[index], y[index][line:stop]
        first += stop - line


def batch_matmul(node: Node) -> Run:
    """a, b -> y"""
    transposed = check_matrices(node, *S8_S16)
    dtype = node.y.dtype
    a_zero, b_zero = node.zero_point("a_zero_point", dtype), node.zero_point("b_zero_point", dtype)
    multiplier = node.real("multiplier")
    low, high, zero_point = _output_side(node)
    wide: Any = np.int16 if dtype == "int8" else np.int32  # holds a value less a zero point
    nothing = np.zeros(1, _BIAS[dtype])

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        for a, b, y in matrices(inputs[0], inputs[1], output, begin, end):
            columns = b if transposed else b.T
            n, k = columns.shape
            _multiply_lines(
                (a.astype(wide) - wide(a_zero)).reshape(-1),
                (np.ascontiguousarray(columns).astype(wide) - wide(b_zero)).reshape(-1),
                y.reshape(-1), n, k, nothing, multiplier, low, high, zero_point,
            )  # fmt: skip

    return run
