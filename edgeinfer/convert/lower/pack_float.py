"""Packing of constant float32 weights into the layout that every kernel tier reads in place.

A matrix [N, K] becomes [N/16][K][16]: the weights of 16 output channels for one value of K side by
side, which is one AVX-512 register. N is rounded up to 16, within each group of a grouped
convolution; what is added is zero. K is not rounded. `docs/format.md` has the layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.lower.pack import TILE_CHANNELS

FloatArray = npt.NDArray[np.floating[Any]]


def _pack(matrix: FloatArray) -> FloatArray:
    """[groups, N, K] -> [groups * N/16, K, 16]."""
    if matrix.dtype not in (np.float32, np.float16):
        raise ValueError(f"weights are {matrix.dtype}, must be float32 or float16")
    groups, n, k = matrix.shape
    tiles = -(-n // TILE_CHANNELS)
    full = np.zeros((groups, tiles * TILE_CHANNELS, k), matrix.dtype)
    full[:, :n] = matrix
    tiled = full.reshape(groups * tiles, TILE_CHANNELS, k)
    return np.ascontiguousarray(tiled.transpose(0, 2, 1))


def pack_conv2d_float(weights: FloatArray, groups: int = 1) -> FloatArray:
    """Pack the weights of a conv2d_f32 or transpose_conv2d_f32.

    Parameters
    ----------
    weights : float32 or float16 array [OC, KH, KW, C / groups]
    groups : int
        The i-th OC/groups output channels read the i-th C/groups input channels.

    Returns
    -------
    array [groups * ceil(OC / groups / 16), KH * KW * C / groups, 16] of the same dtype
    """
    channels = weights.shape[0]
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} output channels do not divide into {groups} groups")
    return _pack(weights.reshape(groups, channels // groups, -1))


def pack_depthwise_conv2d_float(weights: FloatArray) -> FloatArray:
    """Pack the weights of a depthwise_conv2d_f32.

    Parameters
    ----------
    weights : float32 array [KH, KW, OC]
        Output channel o reads input channel o // multiplier.

    Returns
    -------
    array [ceil(OC / 16), KH * KW, 16] of the same dtype
    """
    channels = weights.shape[2]
    return _pack(weights.reshape(1, -1, channels).transpose(0, 2, 1))


def pack_fully_connected_float(weights: FloatArray) -> FloatArray:
    """Pack the weights [N, K] of a fully_connected_f32 into [ceil(N / 16), K, 16]."""
    return _pack(weights[None])
