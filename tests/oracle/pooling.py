"""Pooling windows and reductions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Pair = tuple[int, int]


def _windows(x: np.ndarray, fill: int, kernel: Pair, strides: Pair, padding: tuple[Pair, Pair]):
    image = np.pad(x.astype(np.int64), ((0, 0), *padding, (0, 0)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(image, kernel, axis=(1, 2))
    return view[:, :: strides[0], :: strides[1]]


def average_pool_2d(
    x: np.ndarray,
    kernel: Pair,
    *,
    strides: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    clamp: Pair = (-128, 127),
) -> np.ndarray:
    """The mean of the pixels of the window inside the image, rounded half away from zero.

    Works on raw values: input and output have the same quantisation.
    """
    sums = _windows(x, 0, kernel, strides, padding).sum((-1, -2))
    ones = np.ones((1, *x.shape[1:3], 1), np.int64)
    count = _windows(ones, 0, kernel, strides, padding).sum((-1, -2))
    magnitude = (np.abs(sums) + count // 2) // count
    return np.clip(np.sign(sums) * magnitude, *clamp).astype(x.dtype)


def max_pool_2d(
    x: np.ndarray,
    kernel: Pair,
    *,
    strides: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    clamp: Pair = (-128, 127),
) -> np.ndarray:
    """The largest pixel of the window inside the image."""
    lowest = int(np.iinfo(x.dtype).min)
    largest = _windows(x, lowest, kernel, strides, padding).max((-1, -2))
    return np.clip(largest, *clamp).astype(x.dtype)


def reduce_parameters(
    s_x: float, zp_x: int, s_y: float, zp_y: int, count: int, *, mean: bool
) -> tuple[np.float32, np.float32]:
    """Multiplier and offset of MEAN (mean=True) and SUM over `count` elements.

    The offset holds both zero points.
    """
    multiplier = np.float32(s_x) / np.float32(s_y)
    if mean:
        multiplier = multiplier * (np.float32(1) / np.float32(count))
    offset = np.float32(zp_y) - np.float32(count * zp_x) * multiplier
    return multiplier, offset


def reduce_sum(
    x: np.ndarray,
    axes: Sequence[int],
    multiplier: np.float32,
    offset: np.float32,
    *,
    keep_dims: bool = False,
) -> np.ndarray:
    """clamp(rne(f32(Σ x) * multiplier + offset)): MEAN and SUM, on raw values."""
    sums = x.astype(np.int64).sum(tuple(axes), keepdims=keep_dims)
    scaled = sums.astype(np.float32) * multiplier + offset
    return np.clip(np.rint(scaled), -128, 127).astype(np.int8)
