"""Resizing with tables per axis; input and output have the same quantisation."""

from __future__ import annotations

import numpy as np

F32 = np.float32
FRACTION_BITS = 11


def bilinear_axis(
    n_in: int, n_out: int, *, align_corners: bool = False, half_pixel_centers: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every output index: the two source indices and the weight of the second.

    Returns
    -------
    first, second : int64 arrays [n_out]
    weight : int64 array [n_out]
        In units of 2^-11, from 0 to 2048.
    """
    inner = 1 if align_corners and n_out > 1 else 0
    step = F32(n_in - inner) / F32(n_out - inner)
    position = np.arange(n_out).astype(F32) * step
    if half_pixel_centers:
        position = np.clip(position + (F32(0.5) * step - F32(0.5)), F32(0), F32(n_in - 1))
    first = position.astype(np.int64)
    second = np.minimum(first + 1, n_in - 1)
    weight = np.rint((position - first.astype(F32)) * F32(1 << FRACTION_BITS)).astype(np.int64)
    return first, second, weight


def resize_bilinear(
    x: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Interpolate NHWC along both axes; exact in int32, then one rounding half up."""
    image = x.astype(np.int64)
    y0, y1, wy = rows
    x0, x1, wx = columns
    wx = wx[:, None]
    wy = wy[:, None, None]

    def along_width(row: np.ndarray) -> np.ndarray:
        left, right = image[:, row][:, :, x0], image[:, row][:, :, x1]
        return (left << FRACTION_BITS) + (right - left) * wx

    top, bottom = along_width(y0), along_width(y1)
    total = (top << FRACTION_BITS) + (bottom - top) * wy
    half = 1 << (2 * FRACTION_BITS - 1)
    return ((total + half) >> (2 * FRACTION_BITS)).astype(x.dtype)


def nearest_axis(
    n_in: int, n_out: int, *, align_corners: bool = False, half_pixel_centers: bool = False
) -> np.ndarray:
    """The source index of every output index."""
    if align_corners and n_out > 1:
        step = F32(n_in - 1) / F32(n_out - 1)
    else:
        step = F32(n_in) / F32(n_out)
    position = (np.arange(n_out).astype(F32) + F32(0.5 if half_pixel_centers else 0)) * step
    index = np.floor(position + F32(0.5)) if align_corners else np.floor(position)
    return np.clip(index.astype(np.int64), 0, n_in - 1)


def resize_nearest(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pick pixels of NHWC."""
    return x[:, rows][:, :, columns]
