"""TFLite's integer rescaling, for the operators that its builtin kernels run.

A real multiplier is an int32 mantissa in [2^30, 2^31) and a power of two. Multiplying takes two
steps that each round, so results differ by one from a single rounding now and then.
"""

from __future__ import annotations

import math

import numpy as np


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Mantissa and exponent: real = mantissa * 2^(exponent - 31), mantissa rounded half away.

    The mantissa of a negative power of two is -2^31, that of a positive one 2^30.
    """
    if real == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(real)
    mantissa = int(math.copysign(math.floor(abs(fraction) * 2**31 + 0.5), fraction))
    if mantissa == 2**31:
        mantissa //= 2
        exponent += 1
    elif mantissa == -(2**30):
        mantissa *= 2
        exponent -= 1
    if exponent < -31:
        return 0, 0
    if exponent > 30:
        return 2**31 - 1, 30
    return mantissa, exponent


def rounding_high_mul(a: np.ndarray, b: np.ndarray | int, bits: int = 31) -> np.ndarray:
    """a * b / 2^bits rounded half away from zero: `SaturatingRoundingDoublingHighMul`."""
    product = a.astype(np.int64) * np.asarray(b, np.int64)
    nudge = np.where(product >= 0, 1 << (bits - 1), 1 - (1 << (bits - 1)))
    total = product + nudge
    return np.where(total >= 0, total >> bits, -((-total) >> bits))


def rounding_divide_by_power(x: np.ndarray, exponent: int) -> np.ndarray:
    """x / 2^exponent rounded half away from zero: `RoundingDivideByPOT`."""
    mask = (1 << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


def multiply_by_quantized_multiplier(x: np.ndarray, real: float) -> np.ndarray:
    """x * real as TFLite's scalar kernels do it: `MultiplyByQuantizedMultiplier` on int32."""
    mantissa, exponent = quantize_multiplier(real)
    shifted = x.astype(np.int64) << max(exponent, 0)
    return rounding_divide_by_power(rounding_high_mul(shifted, mantissa), max(-exponent, 0))


def multiply_rounding_up(x: np.ndarray, real: float) -> np.ndarray:
    """x * real as TFLite's vectorised QUANTIZE does it: both roundings go half up."""
    mantissa, exponent = quantize_multiplier(real)
    shifted = x.astype(np.int64) << max(exponent, 0)
    high = (shifted * mantissa + (1 << 30)) >> 31
    right = max(-exponent, 0)
    return high if right == 0 else (high + (1 << (right - 1))) >> right
