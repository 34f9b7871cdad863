"""Products of int8 and weights of four bits in blocks, MXFP4 or NVFP4; of float32 also int8 ones.

Source: "Weights of four bits" in docs/internals/numerics.md. A block's products are summed as
integers, blocks are added in float32 in ascending order of K, one fused multiply-add each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import inline, kernel
from edgeinfer.engine_numba.exact import absolute, fma, rint
from edgeinfer.engine_numba.moves import checked_indices
from edgeinfer.engine_numba.node import Array, Node, Run, row_elements
from edgeinfer.engine_numba.rounding import bounded, requantized
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
)
from edgeinfer.errors import InputError

_LEAST = np.float32(2.0**-119)
_MOST_INT8 = 40960


_TWICE = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
"""Twice the values of the codes."""


class _FourBits:
    """Constants of an operation, read with their padding of channels.

    weights : int8 [channel][K rounded up to blocks], twice the E2M1 values
    scales : float32 [channel][block]; those of NVFP4 times 2^-8
    """

    def __init__(self, node: Node, at: int, what: str, beside: int, tiles: int, k: int) -> None:
        scheme = node.present(at, what, "uint8").scheme
        node.require(scheme != "", f"{what}: are not of four bits in blocks")
        pieces = 4 if scheme == "mxfp4" else 2  # of 8 values, in a block
        self.block = 8 * pieces
        blocks = -(-k // self.block)
        starts = [4 * group * (64 * pieces + 16) for group in range(-(-blocks // 4))]
        size = blocks * 64 * pieces + len(starts) * 64
        self.multiplier = node.constant(beside, "multiplier", "float32", tiles * 16)
        node.finite(self.multiplier, "multiplier")
        packed = node.constant(at, what, "uint8", tiles * size).reshape(tiles, size)
        lines = np.stack([packed[:, start : start + 64] for start in starts], axis=1)
        limit = 0xFF if scheme == "mxfp4" else 0x7F  # NaN; of E4M3 negative ones too
        node.require(bool(np.all(lines < limit)), f"{what}: not all scales are below {limit:#04x}")
        scales = lines.reshape(tiles, -1, 16)[:, :blocks].swapaxes(1, 2)
        if scheme == "mxfp4":
            bits = np.where(scales == 0, 1 << 22, scales.astype(np.int32) << 23)
            values = bits.astype(np.int32).view(np.float32)
        else:
            values = (scales.astype(np.uint16) << 7).view(np.float16).astype(np.float32)
        data = [packed[:, start + 64 : start + 64 + 4 * 64 * pieces] for start in starts]
        pairs = np.concatenate(data, axis=1).reshape(tiles, -1, 16, 4)
        codes = np.stack([pairs & 15, pairs >> 4], axis=2)  # [tile][piece][half][channel][4]
        channels = codes.transpose(0, 3, 1, 2, 4).reshape(tiles * 16, -1)
        self.weights = _TWICE[channels]
        self.scales = values.reshape(tiles * 16, blocks)


class _Blocks:
    """Weights, scales, biases and multipliers of an operation, one after the other, padding taken
    off, as `_FourBits` has them."""

    def __init__(self, node: Node, groups: int, k: int) -> None:
        n = node.y.shape[-1]
        tiles = groups * -(-(n // groups) // 16)
        weights = node.present(1, "weights")
        if node.operator == "fully_connected_dynamic" and not weights.scheme:
            self._read_int8(node, n, k, tiles)
            return
        bias = node.constant(2, "bias", "float32", tiles * 16)
        found = _FourBits(node, 1, "weights", 3, tiles, k)
        self.block = found.block

        def used(array: Array) -> Array:
            return array.reshape(groups, tiles * 16 // groups, -1)[:, : n // groups].reshape(-1)

        self.weights, self.scales = used(found.weights), used(found.scales)
        self.bias, self.multiplier = used(bias), used(found.multiplier)

    def _read_int8(self, node: Node, n: int, k: int, tiles: int) -> None:
        """One block without a scale, K rounded up to 4."""
        self.block = -(-k // 4) * 4
        node.require(self.block <= _MOST_INT8, f"weights: more than {_MOST_INT8} per channel")
        bias = node.constant(2, "bias", "float32", tiles * 16)
        multiplier = node.constant(3, "multiplier", "float32", tiles * 16)
        node.finite(multiplier, "multiplier")
        packed = node.constant(1, "weights", "int8", tiles * 16 * self.block)
        by_channel = packed.reshape(tiles, -1, 16, 4).swapaxes(1, 2).reshape(tiles * 16, -1)
        self.weights = np.ascontiguousarray(by_channel[:n]).reshape(-1)
        self.scales = np.ones(n, np.float32)
        self.bias, self.multiplier = bias.reshape(-1)[:n], multiplier.reshape(-1)[:n]


@inline
def _sum(q: Any, w: Any, w_at: Any, scales: Any, scale_at: Any, blocks: Any, block: Any,
         start: Any) -> Any:  # fmt: skip
    total = start
    for b in range(blocks):
        acc = np.int32(0)
        for i in range(b * block, (b + 1) * block):
            acc += np.int32(q[i]) * np.int32(w[w_at + i])
        total = fma(np.float32(acc), scales[scale_at + b], total)
    return total


@kernel
def _convolve(
    x: Any, w: Any, scales: Any, bias: Any, multiplier: Any, zero: Any, y: Any, patch: Any,
    block: Any, g: Any, low: Any, high: Any, zero_point: Any, begin: Any, end: Any,
) -> None:  # fmt: skip
    """Rows [begin, end); `patch` holds a window of a group, rounded up to blocks with zeros."""
    group_in = g[IN_C] // g[GROUPS]
    group_out = g[OUT_C] // g[GROUPS]
    blocks = patch.size // block
    for r in range(begin, end):
        image = r // g[OUT_H] * g[IN_H]
        top = r % g[OUT_H] * g[STRIDE_H] - g[PAD_TOP]
        for ox in range(g[OUT_W]):
            left = ox * g[STRIDE_W] - g[PAD_LEFT]
            for group in range(g[GROUPS]):
                at = 0
                for ky in range(g[KERNEL_H]):
                    iy = top + ky * g[DILATION_H]
                    for kx in range(g[KERNEL_W]):
                        ix = left + kx * g[DILATION_W]
                        source = ((image + iy) * g[IN_W] + ix) * g[IN_C] + group * group_in
                        outside = iy < 0 or iy >= g[IN_H] or ix < 0 or ix >= g[IN_W]
                        for i in range(group_in):
                            patch[at + i] = zero if outside else x[source + i]
                        at += group_in
                out = (r * g[OUT_W] + ox) * g[OUT_C]
                for n in range(group * group_out, (group + 1) * group_out):
                    total = _sum(
                        patch, w, n * patch.size, scales, n * blocks, blocks, block, bias[n]
                    )
                    scaled = total * multiplier[n]
                    if scaled != scaled:
                        scaled = low
                    y[out + n] = requantized(scaled, low, high, zero_point)


def convolution(
    node: Node, k: int, zero: Any, g: Array, out: tuple[np.float32, np.float32, int]
) -> Run:
    """A convolution, or a fully connected layer as one, of int8; checked but for its constants."""
    blocks = _Blocks(node, int(g[GROUPS]), k)
    w, scales, bias, multiplier = blocks.weights, blocks.scales, blocks.bias, blocks.multiplier
    padded = -(-k // blocks.block) * blocks.block
    low, high, zero_point = out
    zero = np.int8(zero)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _convolve(
            inputs[0].reshape(-1), w, scales, bias, multiplier, zero, output.reshape(-1),
            np.zeros(padded, np.int8), blocks.block, g, low, high, zero_point, begin, end,
        )  # fmt: skip

    return run


@kernel
def _multiply_vectors(
    x: Any, w: Any, scales: Any, bias: Any, multiplier: Any, y: Any, q: Any, block: Any, k: Any,
    n: Any, low: Any, high: Any, begin: Any, end: Any,
) -> None:  # fmt: skip
    """Vectors [begin, end), each rounded to int8 in `q`, which has zeros beyond k."""
    blocks = q.size // block
    for v in range(begin, end):
        largest = np.float32(0)
        finite = True
        for i in range(k):
            value = absolute(x[v * k + i])
            finite = finite and value < np.float32(np.inf)
            if value > largest:
                largest = value
        scale, inverse = np.float32(0), np.float32(0)
        if not finite:
            scale = np.float32(np.nan)
        elif largest >= _LEAST:
            scale = largest / np.float32(127)
            inverse = np.float32(127) / largest
        for i in range(k):
            q[i] = np.int8(0)
            if inverse != 0:
                q[i] = np.int8(rint(x[v * k + i] * inverse))
        for c in range(n):
            start = np.float32(0)
            total = _sum(q, w, c * q.size, scales, c * blocks, blocks, block, start)
            y[v * n + c] = bounded(fma(total, scale * multiplier[c], bias[c]), low, high)


def fully_connected_dynamic(node: Node) -> Run:
    """x, weights, bias, multiplier -> y"""
    x = node.activation(0, "x", "float32")
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", x.dtype)
    node.rank(node.y, "y", len(x.shape), len(x.shape))
    node.shape(node.y, "y", (*x.shape[:-1], *node.y.shape[-1:]))
    k, n = x.shape[-1], node.y.shape[-1]
    blocks = _Blocks(node, 1, k)
    w, scales, bias, multiplier = blocks.weights, blocks.scales, blocks.bias, blocks.multiplier
    padded = -(-k // blocks.block) * blocks.block
    low, high = node.bounds()
    vectors = row_elements(node.y.shape) // n

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        _multiply_vectors(
            inputs[0].reshape(-1), w, scales, bias, multiplier, output.reshape(-1),
            np.zeros(padded, np.int8), blocks.block, k, n, low, high,
            begin * vectors, end * vectors,
        )  # fmt: skip

    return run


def embedding(node: Node) -> Run:
    """table, indices, multiplier -> y"""
    y = node.y
    rows = node.integer("rows", 1, 2**31 - 1)
    indices = node.present(1, "indices", "int32", "int64")
    node.whole(indices, "indices")
    node.dtype(y, "y", "float32")
    node.rank(y, "y", len(indices.shape) + 1, len(indices.shape) + 1)
    node.shape(y, "y", (*indices.shape, y.shape[-1]))
    k = y.shape[-1]
    table = _FourBits(node, 0, "table", 2, -(-rows // 16), k)
    if indices.data is not None:
        checked_indices(node, indices.data, rows, node.fail)
    per_row = row_elements(y.shape) // k

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        wanted = checked_indices(node, inputs[1], rows, InputError).reshape(-1)
        wanted = wanted[begin * per_row : end * per_row]
        scales = np.repeat(table.scales[wanted], table.block, axis=1)[:, :k]
        with np.errstate(all="ignore"):
            values = table.weights[wanted, :k].astype(np.float32) * scales
            values = values * table.multiplier[wanted, None]
        values[np.isnan(values)] = np.float32(np.nan)
        output.reshape(-1, k)[begin * per_row : end * per_row] = values

    return run
