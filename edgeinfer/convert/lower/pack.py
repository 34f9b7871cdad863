"""Packing of constant weights into the one layout that every kernel tier reads in place.

A matrix [N, K] of int8 becomes [N/16][K/4][16][4]: 64 bytes hold four consecutive values of K for
each of 16 output channels. N is rounded up to 16 (within each group of a grouped convolution) and
K consists of *segments*, runs of inputs that are contiguous in memory, each rounded up to 4; what
is added is zero. `docs/internals/kernels.md` has the reasons and the segments of each operator.

Everything here is exact integer arithmetic on arrays; nothing looks at scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Int8Array = npt.NDArray[np.int8]

TILE_CHANNELS = 16
"""Output channels of a tile."""
TILE_K = 4
"""Consecutive values of K in a tile."""


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _pack(matrix: Int8Array) -> Int8Array:
    """[groups, N, segments, length] -> [groups * N/16, segments * length/4, 16, 4]."""
    if matrix.dtype != np.int8:
        raise ValueError(f"weights are {matrix.dtype}, must be int8")
    groups, n, segments, length = matrix.shape
    n_padded, padded = _round_up(n, TILE_CHANNELS), _round_up(length, TILE_K)
    full = np.zeros((groups, n_padded, segments, padded), np.int8)
    full[:, :n, :, :length] = matrix
    tiles = full.reshape(groups * n_padded // TILE_CHANNELS, TILE_CHANNELS, -1, TILE_K)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3))


def _unpack(packed: npt.ArrayLike, groups: int, n: int, segments: int, length: int) -> Int8Array:
    """The inverse of `_pack`."""
    n_padded, padded = _round_up(n, TILE_CHANNELS), _round_up(length, TILE_K)
    flat = np.asarray(packed, np.int8).reshape(-1)
    size = groups * n_padded * segments * padded
    if flat.size < size:
        raise ValueError(f"packed weights have {flat.size} bytes, must have at least {size}")
    tiles = flat[:size].reshape(-1, segments * padded // TILE_K, TILE_CHANNELS, TILE_K)
    full = tiles.transpose(0, 2, 1, 3).reshape(groups, n_padded, segments, padded)
    return np.ascontiguousarray(full[:, :n, :, :length])


def _segments(
    kernel_h: int, kernel_w: int, channels: int, groups: int, dilation_w: int
) -> tuple[int, int]:
    """Number and length of a convolution's segments: neighbours in a row are one run of memory."""
    if groups == 1 and dilation_w == 1:
        return kernel_h, kernel_w * channels
    return kernel_h * kernel_w, channels


def _check_groups(channels: int, groups: int) -> None:
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} output channels do not divide into {groups} groups")


def pack_conv2d(weights: Int8Array, groups: int = 1, dilation_w: int = 1) -> Int8Array:
    """Pack the weights of a conv2d.

    Parameters
    ----------
    weights : int8 array [OC, KH, KW, C / groups]
    groups : int
        The i-th OC/groups output channels read the i-th C/groups input channels.
    dilation_w : int
        The convolution's horizontal dilation: it decides what is contiguous in memory.

    Returns
    -------
    int8 array [groups * ceil(OC / groups / 16), K / 4, 16, 4]
        K is KH segments of KW * C values, or KH * KW segments of C / groups when there are several
        groups or dilation_w is not 1, each segment rounded up to 4.
    """
    oc, kernel_h, kernel_w, channels = weights.shape
    _check_groups(oc, groups)
    shape = _segments(kernel_h, kernel_w, channels, groups, dilation_w)
    return _pack(weights.reshape(groups, oc // groups, *shape))


def unpack_conv2d(
    packed: npt.ArrayLike, shape: tuple[int, int, int, int], groups: int = 1, dilation_w: int = 1
) -> Int8Array:
    """Undo `pack_conv2d`: `shape` is that of the weights, (OC, KH, KW, C / groups)."""
    oc, kernel_h, kernel_w, channels = shape
    _check_groups(oc, groups)
    segments = _segments(kernel_h, kernel_w, channels, groups, dilation_w)
    return _unpack(packed, groups, oc // groups, *segments).reshape(shape)


def pack_transpose_conv2d(weights: Int8Array, groups: int = 1) -> Int8Array:
    """Pack the weights of a transpose_conv2d.

    Parameters
    ----------
    weights : int8 array [OC, KH, KW, C / groups]
    groups : int
        As for `pack_conv2d`.

    Returns
    -------
    int8 array [groups * ceil(OC / groups / 16), K / 4, 16, 4]
        K is KH * KW segments of C / groups values, each rounded up to 4.
    """
    oc, kernel_h, kernel_w, channels = weights.shape
    _check_groups(oc, groups)
    return _pack(weights.reshape(groups, oc // groups, kernel_h * kernel_w, channels))


def unpack_transpose_conv2d(
    packed: npt.ArrayLike, shape: tuple[int, int, int, int], groups: int = 1
) -> Int8Array:
    """Undo `pack_transpose_conv2d`: `shape` is that of the weights, (OC, KH, KW, C / groups)."""
    oc, kernel_h, kernel_w, channels = shape
    _check_groups(oc, groups)
    return _unpack(packed, groups, oc // groups, kernel_h * kernel_w, channels).reshape(shape)


def pack_depthwise_conv2d(weights: Int8Array) -> Int8Array:
    """Pack the weights of a depthwise_conv2d.

    Parameters
    ----------
    weights : int8 array [KH, KW, OC]
        Output channel o reads input channel o // multiplier.

    Returns
    -------
    int8 array [ceil(OC / 16), T / 4, 16, 4]
        T = KH * KW taps in order (ky, kx), one segment.
    """
    kernel_h, kernel_w, oc = weights.shape
    return _pack(weights.reshape(1, kernel_h * kernel_w, 1, oc).transpose(0, 3, 2, 1))


def unpack_depthwise_conv2d(packed: npt.ArrayLike, shape: tuple[int, int, int]) -> Int8Array:
    """Undo `pack_depthwise_conv2d`: `shape` is that of the weights, (KH, KW, OC)."""
    kernel_h, kernel_w, oc = shape
    taps = _unpack(packed, 1, oc, 1, kernel_h * kernel_w)[0, :, 0]
    return np.ascontiguousarray(taps.T).reshape(shape)


def pack_fully_connected(weights: Int8Array) -> Int8Array:
    """Pack the weights of a fully_connected.

    Parameters
    ----------
    weights : int8 array [N, K]

    Returns
    -------
    int8 array [ceil(N / 16), ceil(K / 4), 16, 4]
    """
    n, k = weights.shape
    return _pack(weights.reshape(1, n, 1, k))


def unpack_fully_connected(packed: npt.ArrayLike, shape: tuple[int, int]) -> Int8Array:
    """Undo `pack_fully_connected`: `shape` is that of the weights, (N, K)."""
    n, k = shape
    return _unpack(packed, 1, n, 1, k).reshape(shape)


def pack_channels(values: npt.NDArray[Any], groups: int = 1) -> npt.NDArray[Any]:
    """Lay out one value per output channel (bias, multiplier) as the tiles of packed weights are.

    Parameters
    ----------
    values : array [OC] of any dtype
    groups : int
        Of the convolution; 1 for other operators.

    Returns
    -------
    array [groups * (OC / groups rounded up to 16)] of the same dtype
        Channels that do not exist get 0.
    """
    (oc,) = values.shape
    _check_groups(oc, groups)
    padded = np.zeros((groups, _round_up(oc // groups, TILE_CHANNELS)), values.dtype)
    padded[:, : oc // groups] = values.reshape(groups, -1)
    return padded.reshape(-1)


def unpack_channels(packed: npt.NDArray[Any], oc: int, groups: int = 1) -> npt.NDArray[Any]:
    """Undo `pack_channels`: the `oc` values that exist."""
    _check_groups(oc, groups)
    size = groups * _round_up(oc // groups, TILE_CHANNELS)
    values = packed.reshape(-1)[:size].reshape(groups, -1)[:, : oc // groups]
    return np.ascontiguousarray(values).reshape(-1)


def sum_weights(weights: Int8Array, channel_axis: int = 0) -> npt.NDArray[np.int64]:
    """Sum of the weights of each output channel, [OC].

    Parameters
    ----------
    weights : int8 array
        [OC, KH, KW, C / groups] or [N, K] with channel_axis 0; [KH, KW, OC] with channel_axis 2.
    channel_axis : int
        The axis of output channels.
    """
    axes = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    return np.asarray(weights.sum(axis=axes, dtype=np.int64))


def fold_zero_point(
    bias: npt.NDArray[np.int64] | npt.NDArray[np.int32] | None,
    weights: Int8Array,
    zero_point: int,
    dtype: str,
    channel_axis: int = 0,
) -> npt.NDArray[Any]:
    """The bias that lets a kernel multiply raw activations: bias - zero_point * sum(weights).

    Parameters
    ----------
    bias : integer array [OC], or None for zeros
    weights, channel_axis
        As for `sum_weights`.
    zero_point : int
        Of the activation.
    dtype : {"int32", "int64"}
        int32 for int8 activations, int64 for int16 ones.

    Returns
    -------
    array [OC] of `dtype`
        Taken modulo 2^32 for int32, as the kernels' sums are: the final sum is exact whenever it
        fits (`accumulator_range` tells), even if this bias alone does not.
    """
    sums = sum_weights(weights, channel_axis)
    start = np.zeros_like(sums) if bias is None else bias.astype(np.int64)
    folded: npt.NDArray[Any] = (start - np.int64(zero_point) * sums).astype(dtype)
    return folded


def accumulator_range(
    bias: npt.NDArray[np.int64] | npt.NDArray[np.int32] | None,
    weights: Int8Array,
    zero_point: int,
    x_range: tuple[int, int] = (-128, 127),
    channel_axis: int = 0,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The least and the greatest sum that each output channel can reach, whatever the activations.

    Parameters
    ----------
    bias : integer array [OC], or None for zeros
        As the model has it: the zero point not folded in.
    weights, channel_axis
        As for `sum_weights`.
    zero_point : int
        Of the activation, inside x_range.
    x_range : (int, int)
        Smallest and largest value of the activation.

    Returns
    -------
    low, high : int64 arrays [OC]
        Tight. A model whose range leaves int32 may wrap on an int8 kernel.
    """
    positive = sum_weights(np.maximum(weights, 0), channel_axis)
    negative = sum_weights(weights, channel_axis) - positive
    start = np.zeros_like(positive) if bias is None else bias.astype(np.int64)
    below, above = x_range[0] - zero_point, x_range[1] - zero_point
    low = start + positive * below + negative * above
    high = start + positive * above + negative * below
    return low, high


def zero_row(width: int, channels: int, zero_point: int, dtype: str) -> npt.NDArray[Any]:
    """One row of zero points, [W * C]: what kernels read where a tap leaves the image.

    Parameters
    ----------
    width, channels : int
        Of the input.
    zero_point : int
        Of the input.
    dtype : {"int8", "int16"}
        Of the input.
    """
    return np.full(width * channels, zero_point, dtype)
