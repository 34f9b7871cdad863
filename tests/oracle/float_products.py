"""Products of float32 as chains of fused multiply-adds: the contract of docs/internals/numerics.md.

The fused multiply-add is exact arithmetic in float64: the product of two float32 fits it, their sum
with a third is rounded to odd, and rounding that to float32 gives what one rounding would.
"""

from __future__ import annotations

import numpy as np

NAN = np.uint32(0x7FC00000).view(np.float32)


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c of float32 arrays that broadcast, rounded once."""
    with np.errstate(all="ignore"):
        product = a.astype(np.float64) * b.astype(np.float64)
        product, addend = np.broadcast_arrays(product, c.astype(np.float64))
        total = np.array(product + addend)
        rest = total - product
        error = (product - (total - rest)) + (addend - rest)
        inexact = (error != 0) & ~np.isnan(error)
        stored = total.view(np.int64)
        even = inexact & (stored & 1 == 0)
        stored += np.where(even, np.where((error > 0) == (total > 0), 1, -1), 0)
        return total.astype(np.float32)


def bounded(v: np.ndarray, low: float, high: float) -> np.ndarray:
    """What is stored of a sum."""
    v = np.where(np.float32(low) > v, np.float32(low), v)
    v = np.where(np.float32(high) < v, np.float32(high), v)
    return np.where(np.isnan(v), NAN, v).astype(np.float32)


def matmul(x: np.ndarray, w: np.ndarray, start: np.ndarray) -> np.ndarray:
    """x [..., M, K] by w [..., K, N], every sum in ascending order of K."""
    shape = np.broadcast_shapes((*x.shape[:-1], 1), w[..., :1, :].shape, start.shape)
    total = np.broadcast_to(start, shape).astype(np.float32)
    for k in range(x.shape[-1]):
        total = fma(x[..., k : k + 1], w[..., k : k + 1, :], total)
    return total


def conv2d(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    groups: int = 1,
) -> np.ndarray:
    """Sums of a convolution: x [N,H,W,C], weights [OC,KH,KW,C/groups]; outside the image is +0."""
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    kernel = weights.shape[1:3]
    out = [
        (padded.shape[1 + i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in (0, 1)
    ]
    taps = []
    for ky, kx in np.ndindex(*kernel):
        y0, x0 = ky * dilations[0], kx * dilations[1]
        rows = slice(y0, y0 + (out[0] - 1) * strides[0] + 1, strides[0])
        columns = slice(x0, x0 + (out[1] - 1) * strides[1] + 1, strides[1])
        taps.append(padded[:, rows, columns].reshape(*x.shape[:1], *out, groups, -1))
    windows = np.concatenate(taps, axis=-1)[..., None, :]  # [N, OH, OW, groups, 1, K]
    by_group = weights.reshape(groups, weights.shape[0] // groups, -1).swapaxes(1, 2)
    start = bias.reshape(groups, 1, -1)
    return matmul(windows, by_group, start).reshape(x.shape[0], *out, -1)


def transpose_conv2d(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    origin: tuple[int, int],
    out: tuple[int, int],
    groups: int = 1,
) -> np.ndarray:
    """Sums of a transposed convolution, gathering: only taps that meet the input take part."""
    by_group = weights.reshape(groups, -1, *weights.shape[1:])
    grouped = x.reshape(*x.shape[:3], groups, -1)
    start = bias.reshape(groups, -1)
    y = np.empty((x.shape[0], *out, weights.shape[0]), np.float32)
    for oy, ox in np.ndindex(*out):
        total = np.broadcast_to(start, (x.shape[0], *start.shape)).astype(np.float32)
        for ky, kx in np.ndindex(*weights.shape[1:3]):
            iy, y_left = divmod(oy + origin[0] - ky * dilations[0], strides[0])
            ix, x_left = divmod(ox + origin[1] - kx * dilations[1], strides[1])
            if y_left or x_left or not (0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]):
                continue
            for c in range(weights.shape[3]):
                total = fma(grouped[:, iy, ix, :, c, None], by_group[:, :, ky, kx, c], total)
        y[:, oy, ox] = total.reshape(x.shape[0], -1)
    return y
