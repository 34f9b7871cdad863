"""Operators on two tensors, and the way in from float32 and out to it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .requantize import INTEGER_RANGES, requantize


class AddParameters(NamedTuple):
    """y = clamp(((bias + a * a_multiplier + b * b_multiplier) >> shift) + zp_y)."""

    a_multiplier: int
    b_multiplier: int
    bias: int
    shift: int


def add_parameters(
    s_a: float,
    zp_a: int,
    s_b: float,
    zp_b: int,
    s_y: float,
    *,
    subtract: bool = False,
) -> AddParameters:
    """Multipliers, bias and shift of ADD and SUB; the larger multiplier is in [2^20, 2^21].

    The bias holds half of the last place, so the shift rounds half up.
    """
    ratio_a = np.float32(s_a) / np.float32(s_y)
    ratio_b = np.float32(s_b) / np.float32(s_y)
    exponent = math.frexp(float(max(ratio_a, ratio_b)))[1] - 1
    shift = 20 - exponent
    a_multiplier = int(np.rint(np.ldexp(ratio_a, shift)))
    b_multiplier = int(np.rint(np.ldexp(ratio_b, shift)))
    if subtract:
        b_multiplier = -b_multiplier
    bias = (1 << (shift - 1)) - a_multiplier * zp_a - b_multiplier * zp_b
    return AddParameters(a_multiplier, b_multiplier, bias, shift)


def add(
    a: np.ndarray,
    b: np.ndarray,
    parameters: AddParameters,
    zp_y: int,
    clamp: tuple[int, int] = (-128, 127),
    dtype: str = "int8",
) -> np.ndarray:
    """ADD and SUB with NumPy's broadcasting. The sum fits int32 for int8 inputs."""
    p = parameters
    total = p.bias + a.astype(np.int64) * p.a_multiplier + b.astype(np.int64) * p.b_multiplier
    return np.clip((total >> p.shift) + zp_y, *clamp).astype(dtype)


def multiplier_of_mul(s_a: float, s_b: float, s_y: float) -> np.floating:
    """(s_a * s_b) / s_y in float32."""
    return (np.float32(s_a) * np.float32(s_b)) / np.float32(s_y)


def mul(
    a: np.ndarray,
    zp_a: int,
    b: np.ndarray,
    zp_b: int,
    multiplier: float | np.floating,
    zp_y: int,
    clamp: tuple[int, int] = (-128, 127),
    dtype: str = "int8",
) -> np.ndarray:
    """MUL with NumPy's broadcasting: requantise (a - zp_a) * (b - zp_b)."""
    product = (a.astype(np.int64) - zp_a) * (b.astype(np.int64) - zp_b)
    return requantize(product, multiplier, zp_y, clamp, dtype)


def quantize(x: np.ndarray, s_y: float, zp_y: int, dtype: str = "int8") -> np.ndarray:
    """clamp(rne(x * (1 / s_y)) + zp_y); x is float32 without NaN."""
    with np.errstate(over="ignore"):
        scaled = x.astype(np.float32) * (np.float32(1) / np.float32(s_y))
    return np.clip(np.rint(scaled.astype(np.float64)) + zp_y, *INTEGER_RANGES[dtype]).astype(dtype)


def quantize_by_division(x: np.ndarray, s_y: float, zp_y: int, dtype: str = "int8") -> np.ndarray:
    """clamp(rne(x / s_y) + zp_y): ONNX's QuantizeLinear."""
    with np.errstate(over="ignore"):
        scaled = x.astype(np.float32) / np.float32(s_y)
    return np.clip(np.rint(scaled.astype(np.float64)) + zp_y, *INTEGER_RANGES[dtype]).astype(dtype)


def dequantize(q: np.ndarray, s_x: float, zp_x: int) -> np.ndarray:
    """f32(q - zp_x) * s_x."""
    return (q.astype(np.int64) - zp_x).astype(np.float32) * np.float32(s_x)
