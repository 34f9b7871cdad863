"""Resizing with tables per axis; input and output have the same quantisation."""

from __future__ import annotations

import numpy as np

F32 = np.float32
#: Bits of a weight: XNNPACK (int8 in LiteRT) and TFLite's builtin kernel (int16 in LiteRT).
XNNPACK_BITS = 11
BUILTIN_BITS = 10

#: For every output index: the two source indices, and the weight of the second in units of
#: 2^-bits.
Axis = tuple[np.ndarray, np.ndarray, np.ndarray]


def bilinear_axis(
    n_in: int, n_out: int, *, align_corners: bool = False, half_pixel_centers: bool = False
) -> Axis:
    """An axis of RESIZE_BILINEAR on int8 (XNNPACK): weights from 0 to 2048."""
    inner = 1 if align_corners and n_out > 1 else 0
    step = F32(n_in - inner) / F32(n_out - inner)
    position = np.arange(n_out).astype(F32) * step
    if half_pixel_centers:
        position = np.clip(position + (F32(0.5) * step - F32(0.5)), F32(0), F32(n_in - 1))
    return _axis_of_positions(position, n_in)


def bilinear_axis_builtin(
    n_in: int, n_out: int, *, align_corners: bool = False, half_pixel_centers: bool = False
) -> Axis:
    """An axis of RESIZE_BILINEAR on int16 (TFLite's builtin): the step itself has 10 bits.

    A weight below 0 goes with two equal indices, where it has no effect.
    """
    one = 1 << BUILTIN_BITS
    inner = 1 if align_corners and n_out > 1 else 0
    step = (one * (n_in - inner) + (n_out - inner) // 2) // (n_out - inner)
    position = np.arange(n_out, dtype=np.int64) * step
    if half_pixel_centers:
        position = position + step // 2 - one // 2
    first = np.maximum(np.where(position >= 0, position // one, -(-position // one)), 0)
    second = np.minimum(-(-position // one), n_in - 1)
    return first, second, position - one * first


def resize_bilinear(
    x: np.ndarray, rows: Axis, columns: Axis, bits: int = XNNPACK_BITS
) -> np.ndarray:
    """Interpolate NHWC along both axes, exactly; one rounding at the end.

    Half is rounded up with XNNPACK's 11 bits and away from zero with the builtin's 10.
    """
    image = x.astype(np.int64)
    y0, y1, wy = rows
    x0, x1, wx = columns
    wx = wx[:, None]
    wy = wy[:, None, None]

    def along_width(row: np.ndarray) -> np.ndarray:
        left, right = image[:, row][:, :, x0], image[:, row][:, :, x1]
        return (left << bits) + (right - left) * wx

    top, bottom = along_width(y0), along_width(y1)
    total = (top << bits) + (bottom - top) * wy
    half = 1 << (2 * bits - 1)
    if bits == BUILTIN_BITS:
        return (np.sign(total) * ((np.abs(total) + half) >> (2 * bits))).astype(x.dtype)
    return ((total + half) >> (2 * bits)).astype(x.dtype)


def nearest_axis(
    n_in: int, n_out: int, *, align_corners: bool = False, half_pixel_centers: bool = False
) -> np.ndarray:
    """The source index of every output index of RESIZE_NEAREST_NEIGHBOR."""
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


def onnx_positions(n_in: int, n_out: int, coordinate_transformation_mode: str) -> np.ndarray:
    """The float32 source position of every output index of ONNX's Resize to a given size."""
    index = np.arange(n_out).astype(F32)
    scale = F32(n_out) / F32(n_in)
    if coordinate_transformation_mode == "asymmetric":
        return index / scale
    if coordinate_transformation_mode == "align_corners":
        return index * F32(n_in - 1) / F32(max(n_out - 1, 1))
    if coordinate_transformation_mode == "pytorch_half_pixel" and n_out == 1:
        return np.zeros(1, F32)
    return (index + F32(0.5)) / scale - F32(0.5)


def onnx_bilinear_axis(n_in: int, n_out: int, coordinate_transformation_mode: str) -> Axis:
    """An axis of ONNX's linear Resize, with XNNPACK's weights of 11 bits."""
    position = onnx_positions(n_in, n_out, coordinate_transformation_mode)
    return _axis_of_positions(np.clip(position, F32(0), F32(n_in - 1)), n_in)


def onnx_nearest_axis(
    n_in: int, n_out: int, coordinate_transformation_mode: str, nearest_mode: str
) -> np.ndarray:
    """The source index of every output index of ONNX's nearest Resize.

    A position within 1e-6 of a half counts as a half, as in onnxruntime.
    """
    position = onnx_positions(n_in, n_out, coordinate_transformation_mode)
    whole = np.floor(position)
    fraction = position - whole
    index = {
        "floor": whole,
        "ceil": np.ceil(position),
        "round_prefer_floor": whole + (fraction > F32(0.5 + 1e-6)),
        "round_prefer_ceil": whole + (fraction >= F32(0.5 - 1e-6)),
    }[nearest_mode]
    return np.clip(index.astype(np.int64), 0, n_in - 1)


def _axis_of_positions(position: np.ndarray, n_in: int) -> Axis:
    first = position.astype(np.int64)
    second = np.minimum(first + 1, n_in - 1)
    weight = np.rint((position - first.astype(F32)) * F32(1 << XNNPACK_BITS)).astype(np.int64)
    return first, second, weight
