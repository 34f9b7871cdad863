"""Exact integer sums of the operators that multiply by weights; `requantize` finishes them.

Activations are integers with a zero point, weights are symmetric. A tap outside the image adds
nothing, as if the image went on with its zero point. Sums are int64 here; the converter refuses
a model whose sums could leave int32 (int8 activations).
"""

from __future__ import annotations

import numpy as np

Pair = tuple[int, int]


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, Pair]:
    """Output size and (before, after) padding of SAME along one axis; the odd one goes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return out, (total // 2, total - total // 2)


def valid_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, Pair]:
    """Output size and padding (none) of VALID along one axis."""
    return (size - (kernel - 1) * dilation - 1) // stride + 1, (0, 0)


def resolve_padding(
    padding: str, shape: Pair, kernel: Pair, strides: Pair, dilations: Pair
) -> tuple[Pair, tuple[Pair, Pair]]:
    """Output (height, width) and ((top, bottom), (left, right)) of "SAME" or "VALID"."""
    rule = {"SAME": same_padding, "VALID": valid_padding}[padding]
    height, rows = rule(shape[0], kernel[0], strides[0], dilations[0])
    width, columns = rule(shape[1], kernel[1], strides[1], dilations[1])
    return (height, width), (rows, columns)


def conv_2d_sums(
    x: np.ndarray,
    zp_x: int,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    strides: Pair = (1, 1),
    dilations: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
) -> np.ndarray:
    """bias + Σ (x - zp_x) * weights.

    Parameters
    ----------
    x : integer array [N, H, W, C]
    zp_x : int
    weights : integer array [O, KH, KW, C / groups]
        O is a multiple of the number of groups; channels of a group are neighbours.
    bias : integer array [O], optional
    strides, dilations : (int, int)
        Along height and width.
    padding : ((top, bottom), (left, right))

    Returns
    -------
    int64 array [N, OH, OW, O]
    """
    batch, _, _, channels = x.shape
    out_channels, kh, kw, group_in = weights.shape
    groups = channels // group_in
    group_out = out_channels // groups
    image = np.pad(x.astype(np.int64) - zp_x, ((0, 0), *padding, (0, 0)))
    height = (image.shape[1] - (kh - 1) * dilations[0] - 1) // strides[0] + 1
    width = (image.shape[2] - (kw - 1) * dilations[1] - 1) // strides[1] + 1
    sums = np.zeros((batch, height, width, out_channels), np.int64)
    taps = weights.astype(np.int64)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilations[0], j * dilations[1]
            patch = image[
                :,
                top : top + (height - 1) * strides[0] + 1 : strides[0],
                left : left + (width - 1) * strides[1] + 1 : strides[1],
            ]
            for g in range(groups):
                outs = slice(g * group_out, (g + 1) * group_out)
                ins = slice(g * group_in, (g + 1) * group_in)
                sums[..., outs] += patch[..., ins] @ taps[outs, i, j].T
    return sums if bias is None else sums + bias


def depthwise_conv_2d_sums(
    x: np.ndarray,
    zp_x: int,
    weights: np.ndarray,
    bias: np.ndarray | None = None,
    **geometry,
) -> np.ndarray:
    """As `conv_2d_sums` with weights [1, KH, KW, C * multiplier].

    Output channel o reads input channel o // multiplier.
    """
    return conv_2d_sums(x, zp_x, weights.transpose(3, 1, 2, 0), bias, **geometry)


def transpose_conv_sums(
    x: np.ndarray,
    zp_x: int,
    weights: np.ndarray,
    bias: np.ndarray | None,
    out_shape: Pair,
    *,
    strides: Pair = (1, 1),
    origin: Pair = (0, 0),
) -> np.ndarray:
    """bias + Σ (x - zp_x) * weights, scattered with the strides.

    Parameters
    ----------
    weights : integer array [O, KH, KW, C]
    out_shape : (int, int)
        Height and width of the output.
    origin : (int, int)
        Rows and columns cut away at the top and left: y[oy] gathers x[iy] where
        oy + origin[0] = iy * strides[0] + ky.

    Returns
    -------
    int64 array [N, OH, OW, O]
    """
    batch, height, width, _ = x.shape
    out_channels, kh, kw, _ = weights.shape
    rows = max((height - 1) * strides[0] + kh, origin[0] + out_shape[0])
    columns = max((width - 1) * strides[1] + kw, origin[1] + out_shape[1])
    full = np.zeros((batch, rows, columns, out_channels), np.int64)
    image = x.astype(np.int64) - zp_x
    for i in range(kh):
        for j in range(kw):
            bottom, right = i + (height - 1) * strides[0] + 1, j + (width - 1) * strides[1] + 1
            target = full[:, i : bottom : strides[0], j : right : strides[1]]
            target += image @ weights[:, i, j].astype(np.int64).T
    sums = full[:, origin[0] : origin[0] + out_shape[0], origin[1] : origin[1] + out_shape[1]]
    return sums if bias is None else sums + bias


def transpose_conv_origin(
    padding: str, shape: Pair, out: Pair, kernel: Pair, strides: Pair
) -> Pair:
    """The `origin` of TFLite's "SAME" or "VALID" TRANSPOSE_CONV."""
    if padding == "VALID":
        return 0, 0

    def before(axis: int) -> int:
        full = (shape[axis] - 1) * strides[axis] + kernel[axis]
        return max(full - out[axis], 0) // 2

    return before(0), before(1)


def fully_connected_sums(
    x: np.ndarray, zp_x: int, weights: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    """bias + (x - zp_x) @ weights.T; x is [..., K], weights are [N, K]; int64 [..., N]."""
    sums = (x.astype(np.int64) - zp_x) @ weights.astype(np.int64).T
    return sums if bias is None else sums + bias


def matmul_sums(a: np.ndarray, zp_a: int, b: np.ndarray, zp_b: int) -> np.ndarray:
    """(a - zp_a) @ (b - zp_b) in int64, with NumPy's broadcasting of the batch axes."""
    return (a.astype(np.int64) - zp_a) @ (b.astype(np.int64) - zp_b)
