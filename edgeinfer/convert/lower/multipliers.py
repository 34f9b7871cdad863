"""Parameters of quantised operators from scales and zero points (docs/internals/numerics.md).

Every float32 operation is written in the order that the document gives, since the order decides
the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def conv_multipliers(scale_x: np.float32, scale_w: FloatArray, scale_y: np.float32) -> FloatArray:
    """(s_x * s_w) / s_y for every scale of the weights."""
    return np.asarray((np.float32(scale_x) * scale_w) / np.float32(scale_y), np.float32)


def product_multiplier(scale_a: np.float32, scale_b: np.float32, scale_y: np.float32) -> np.float32:
    """(s_a * s_b) / s_y, of mul and batch_matmul."""
    multiplier: np.float32 = (np.float32(scale_a) * np.float32(scale_b)) / np.float32(scale_y)
    return multiplier


@dataclass(frozen=True)
class AddParameters:
    """y = clamp(((a * a_multiplier + b * b_multiplier + bias) >> shift) + zero_point_y)."""

    a_multiplier: int
    b_multiplier: int
    bias: int
    shift: int


class ScaleRatioError(ValueError):
    """The scales of an addition are too far apart for its integers."""


def add_parameters(
    scale_a: np.float32,
    zero_point_a: int,
    scale_b: np.float32,
    zero_point_b: int,
    scale_y: np.float32,
    *,
    subtract: bool = False,
) -> AddParameters:
    """Multipliers, bias and shift of add and sub.

    The larger multiplier is in [2^20, 2^21], so that a sum of int8 products fits int32. Where both
    inputs are finer than 2^-10 of the output the shift stays at 30, with smaller multipliers.

    Raises
    ------
    ScaleRatioError
        An input's scale is 2^20 times that of the output or more.
    """
    ratio_a = np.float32(scale_a) / np.float32(scale_y)
    ratio_b = np.float32(scale_b) / np.float32(scale_y)
    exponent = math.frexp(float(max(ratio_a, ratio_b)))[1] - 1
    shift = min(20 - exponent, 30)
    if shift < 1:
        raise ScaleRatioError(f"scales {scale_a}, {scale_b} are too coarse for {scale_y}")
    a = int(np.rint(np.ldexp(np.float64(ratio_a), shift)))
    b = int(np.rint(np.ldexp(np.float64(ratio_b), shift)))
    if subtract:
        b = -b
    return AddParameters(a, b, (1 << (shift - 1)) - a * zero_point_a - b * zero_point_b, shift)


def split_int64(value: int) -> tuple[int, int]:
    """Low and high 32-bit words, each as a signed int32."""
    low, high = value & 0xFFFFFFFF, value >> 32
    return low - (1 << 32) if low >= 1 << 31 else low, high


def reduce_parameters(
    scale_x: np.float32,
    zero_point_x: int,
    scale_y: np.float32,
    zero_point_y: int,
    count: int,
    *,
    mean: bool,
) -> tuple[np.float32, np.float32]:
    """Multiplier and offset of mean and sum over `count` elements."""
    multiplier = np.float32(scale_x) / np.float32(scale_y)
    if mean:
        multiplier = multiplier * (np.float32(1) / np.float32(count))
    offset = np.float32(zero_point_y) - np.float32(count * zero_point_x) * multiplier
    return np.float32(multiplier), np.float32(offset)


def exp_table(scale_x: np.float32, beta: float, dtype: str) -> npt.NDArray[Any]:
    """Softmax's exponentials of (x - max): entry d is exp(-(s_x * beta) * d).

    For int8, d is 0 to 255. For int16, d has 16 bits and the table two halves of 256: the high
    byte's exponentials, then the low byte's; the runtime multiplies one of each.
    """
    step = np.float32(scale_x) * np.float32(beta)

    def exponentials(distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        argument = np.asarray(-step * distance, np.float64)
        return np.exp(argument).astype(np.float32)

    low = np.arange(256, dtype=np.float32)
    if dtype == "int8":
        return exponentials(low)
    return np.concatenate([exponentials(low * np.float32(256)), exponentials(low)])
