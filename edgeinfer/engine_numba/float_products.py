"""Products of float32: every output element is one chain of fused multiply-adds.

Source: "Products of float32" in docs/internals/numerics.md; docs/format.md has the layout of
weights.

Chains run along K and channels lie side by side, so LLVM makes vectors of channels: `_chain` takes
four values of K at a time through the sums of all channels, which changes no chain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import inline, kernel
from edgeinfer.engine_numba.exact import fma
from edgeinfer.engine_numba.node import Array, Node, Run, row_elements
from edgeinfer.engine_numba.products import check_matrices, matrices
from edgeinfer.engine_numba.rounding import bounded
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


def _weights_and_bias(
    node: Node, groups: int, k: int, *, half: bool = False
) -> tuple[Array, Array]:
    """Weights as float32 [group][K][output channel of the group], and the bias without padding."""
    per_group = node.y.shape[-1] // groups
    tiles = -(-per_group // 16)
    bias = node.constant(2, "bias", "float32", groups * tiles * 16)
    dtypes = ("float32", "float16") if half else ("float32",)
    packed = node.constant(1, "weights", dtypes, groups * tiles * k * 16).astype(np.float32)
    dense = packed.reshape(groups, tiles, k, 16).transpose(0, 2, 1, 3).reshape(groups, k, -1)
    weights = np.ascontiguousarray(dense[:, :, :per_group]).reshape(-1)
    return weights, bias.reshape(groups, -1)[:, :per_group].reshape(-1).copy()


@inline
def _chain(values: Any, first: Any, k: Any, w: Any, w_at: Any, sums: Any, at: Any, n: Any) -> None:
    """sums[at + j] = fma(values[first + i], w[w_at + i * n + j], sums[at + j]), ascending i < k."""
    i = 0
    while i + 4 <= k:
        a, b = values[first + i], values[first + i + 1]
        c, d = values[first + i + 2], values[first + i + 3]
        line = w_at + i * n
        for j in range(n):
            s = fma(a, w[line + j], sums[at + j])
            s = fma(b, w[line + n + j], s)
            s = fma(c, w[line + 2 * n + j], s)
            sums[at + j] = fma(d, w[line + 3 * n + j], s)
        i += 4
    while i < k:
        a = values[first + i]
        line = w_at + i * n
        for j in range(n):
            sums[at + j] = fma(a, w[line + j], sums[at + j])
        i += 1


@kernel
def _convolve(
    x: Any, w: Any, bias: Any, y: Any, patch: Any, sums: Any, g: Any, low: Any, high: Any,
    begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end); `patch` holds a window of a group, `sums` a pixel of y."""
    group_in = g[IN_C] // g[GROUPS]
    group_out = g[OUT_C] // g[GROUPS]
    k = g[KERNEL_H] * g[KERNEL_W] * group_in
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        top = r % g[OUT_H] * g[STRIDE_H] - g[PAD_TOP]
        for ox in range(g[OUT_W]):
            left = ox * g[STRIDE_W] - g[PAD_LEFT]
            for n in range(g[OUT_C]):
                sums[n] = bias[n]
            for group in range(g[GROUPS]):
                at = 0
                for ky in range(g[KERNEL_H]):
                    iy = top + ky * g[DILATION_H]
                    for kx in range(g[KERNEL_W]):
                        ix = left + kx * g[DILATION_W]
                        if iy < 0 or iy >= g[IN_H] or ix < 0 or ix >= g[IN_W]:
                            for i in range(group_in):
                                patch[at + i] = np.float32(0)
                        else:
                            source = ((image + iy) * g[IN_W] + ix) * g[IN_C] + group * group_in
                            for i in range(group_in):
                                patch[at + i] = x[source + i]
                        at += group_in
                first = group * group_out
                _chain(patch, 0, k, w, first * k, sums, first, group_out)
            out = (r * g[OUT_W] + ox) * g[OUT_C]
            for n in range(g[OUT_C]):
                y[out + n] = bounded(sums[n], low, high)


def _convolution(weights: Array, bias: Array, g: Array, bounds: Any) -> Run:
    low, high = bounds
    k = int(g[KERNEL_H] * g[KERNEL_W] * (g[IN_C] // g[GROUPS]))

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _convolve(
            inputs[0].reshape(-1), weights, bias, output.reshape(-1), np.empty(k, np.float32),
            np.empty_like(bias), g, low, high, begin, end,
        )  # fmt: skip

    return run


def conv2d_f32(node: Node) -> Run:
    """x, weights, bias, zero? -> y"""
    x, _ = images(node, "float32")
    g = geometry(node, x, divided(node, x))
    has_zero = len(node.inputs) > 3 and node.inputs[3] is not None
    check_reach(node, g, has_zero=has_zero)
    zero_value(node, 3, x)  # is +0
    groups = int(g[GROUPS])
    k = int(g[KERNEL_H] * g[KERNEL_W]) * x.shape[3] // groups
    weights, bias = _weights_and_bias(node, groups, k, half=True)
    return _convolution(weights, bias, g, node.bounds())


def fully_connected_f32(node: Node) -> Run:
    """x, weights, bias -> y: a convolution of as many pixels as there are vectors."""
    x = node.activation(0, "x", "float32")
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", "float32")
    node.rank(node.y, "y", 1)
    node.shape(node.y, "y", (*x.shape[:-1], *node.y.shape[-1:]))
    weights, bias = _weights_and_bias(node, 1, x.shape[-1], half=True)
    vectors = row_elements(node.y.shape) // node.y.shape[-1]
    rows = node.y.rows
    g = np.array(
        [rows, vectors, x.shape[-1], rows, vectors, node.y.shape[-1], 1, 1, 1, 1, 1, 1, 0, 0, 1],
        np.int64,
    )
    return _convolution(weights, bias, g, node.bounds())


@kernel
def _convolve_depthwise(
    x: Any, w: Any, bias: Any, y: Any, sums: Any, g: Any, low: Any, high: Any,
    begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end); w is [tap][output channel]. Taps outside multiply +0."""
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
                for kx in range(g[KERNEL_W]):
                    ix = left + kx * g[DILATION_W]
                    tap = (ky * g[KERNEL_W] + kx) * channels
                    if iy < 0 or iy >= g[IN_H] or ix < 0 or ix >= g[IN_W]:
                        for c in range(channels):
                            sums[c] = fma(np.float32(0), w[tap + c], sums[c])
                        continue
                    source = ((image + iy) * g[IN_W] + ix) * g[IN_C]
                    if each == 1:
                        for c in range(channels):
                            sums[c] = fma(x[source + c], w[tap + c], sums[c])
                    else:
                        for c in range(channels):
                            sums[c] = fma(x[source + c // each], w[tap + c], sums[c])
            out = (r * g[OUT_W] + ox) * channels
            for c in range(channels):
                y[out + c] = bounded(sums[c], low, high)


def depthwise_conv2d_f32(node: Node) -> Run:
    """x, weights, bias, zero? -> y"""
    x, y = images(node, "float32")
    g = geometry(node, x)
    has_zero = len(node.inputs) > 3 and node.inputs[3] is not None
    check_reach(node, g, has_zero=has_zero)
    zero_value(node, 3, x)  # is +0
    each = node.integer("multiplier", 1, y.shape[3])
    node.shape(y, "y", (*y.shape[:3], x.shape[3] * each))
    weights, bias = _weights_and_bias(node, 1, int(g[KERNEL_H] * g[KERNEL_W]))
    low, high = node.bounds()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _convolve_depthwise(
            inputs[0].reshape(-1), weights, bias, output.reshape(-1), np.empty_like(bias), g,
            low, high, begin, end,
        )  # fmt: skip

    return run


@kernel
def _convolve_transposed(
    x: Any, w: Any, bias: Any, y: Any, sums: Any, g: Any, low: Any, high: Any,
    begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end); w is [group][tap][input channel][output channel]."""
    group_in = g[IN_C] // g[GROUPS]
    group_out = g[OUT_C] // g[GROUPS]
    k = g[KERNEL_H] * g[KERNEL_W] * group_in
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
                    tap = (ky * g[KERNEL_W] + kx) * group_in
                    for group in range(g[GROUPS]):
                        w_at = (group * k + tap) * group_out
                        source = pixel + group * group_in
                        _chain(x, source, group_in, w, w_at, sums, group * group_out, group_out)
            out = (r * g[OUT_W] + ox) * g[OUT_C]
            for n in range(g[OUT_C]):
                y[out + n] = bounded(sums[n], low, high)


def transpose_conv2d_f32(node: Node) -> Run:
    """x, weights, bias -> y"""
    x, _ = images(node, "float32")
    g = geometry(node, x, divided(node, x))
    check_transposed_reach(node, g)
    groups = int(g[GROUPS])
    k = int(g[KERNEL_H] * g[KERNEL_W]) * x.shape[3] // groups
    weights, bias = _weights_and_bias(node, groups, k)
    low, high = node.bounds()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _convolve_transposed(
            inputs[0].reshape(-1), weights, bias, output.reshape(-1), np.empty_like(bias), g,
            low, high, begin, end,
        )  # fmt: skip

    return run


@kernel
def _multiply_lines(a: Any, b: Any, y: Any, n: Any, k: Any, low: Any, high: Any) -> None:
    """Lines of a matrix product, from +0: a [lines][k], b [k][n]."""
    for line in range(a.size // k):
        for j in range(n):
            y[line * n + j] = np.float32(0)
        _chain(a, line * k, k, b, 0, y, line * n, n)
        for j in range(n):
            y[line * n + j] = bounded(y[line * n + j], low, high)


def batch_matmul_f32(node: Node) -> Run:
    """a, b -> y"""
    transposed = check_matrices(node, "float32")
    low, high = node.bounds()

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        for a, b, y in matrices(inputs[0], inputs[1], output, begin, end):
            columns = np.ascontiguousarray(b.T if transposed else b)
            k, n = columns.shape
            _multiply_lines(
                np.ascontiguousarray(a).reshape(-1), columns.reshape(-1), y.reshape(-1), n, k,
                low, high,
            )  # fmt: skip

    return run
