"""TFLite's integer rescaling, which decides the tables of operators that its own kernels run.

A real multiplier is a 32-bit mantissa and an exponent, real = mantissa * 2^(exponent - 31).
Source: gemmlowp's fixedpoint.h and TFLite's `QuantizeMultiplier`. Arrays are int64 throughout, so
that nothing saturates: inputs here are of 16 bits at most.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Mantissa and exponent of a real multiplier; (0, 0) below 2^-32."""
    if real == 0:
        return 0, 0
    fraction, exponent = math.frexp(real)
    mantissa = int(math.copysign(math.floor(abs(fraction) * 2**31 + 0.5), real))
    if mantissa == 1 << 31:  # 0.99999... rounded up
        mantissa, exponent = mantissa // 2, exponent + 1
    elif mantissa == -(1 << 30):  # TFLite reads the bits of the double, whose sign is apart
        mantissa, exponent = mantissa * 2, exponent - 1
    if exponent < -31:
        return 0, 0
    if exponent > 30:
        return (1 << 31) - 1, 30
    return mantissa, exponent


def high_product(a: Ints, b: int, bits: int = 31) -> Ints:
    """a * b / 2^bits, rounded half up (`SaturatingRoundingDoublingHighMul`)."""
    product = np.asarray(a, np.int64) * b
    # The C++ adds 2^(bits-1), less 1 to a negative product, and divides truncating.
    magnitude = (np.abs(product) + (1 << (bits - 1)) - (product < 0)) >> bits
    return np.where(product >= 0, magnitude, -magnitude)


def divide_by_power(x: Ints, exponent: int) -> Ints:
    """x / 2^exponent, rounded half away from zero (`RoundingDivideByPOT`)."""
    if exponent == 0:
        return x
    half = 1 << (exponent - 1)
    return np.where(x >= 0, (x + half) >> exponent, -((-x + half) >> exponent))


def multiply(x: Ints, real: float) -> Ints:
    """x * real with two roundings (`MultiplyByQuantizedMultiplier`)."""
    mantissa, exponent = quantize_multiplier(real)
    shifted = np.asarray(x, np.int64) << max(exponent, 0)
    return divide_by_power(high_product(shifted, mantissa), max(-exponent, 0))


def multiply_rounding_up(x: Ints, real: float) -> Ints:
    """x * real with two roundings, both half up: TFLite's vectorised requantisation."""
    mantissa, exponent = quantize_multiplier(real)
    high = ((np.asarray(x, np.int64) << max(exponent, 0)) * mantissa + (1 << 30)) >> 31
    right = max(-exponent, 0)
    return high if right == 0 else (high + (1 << (right - 1))) >> right


def hard_swish(x: Ints, scale_x: np.float32, scale_y: np.float32) -> Ints:
    """x * relu6(x + 3) / 6 of (q - zero_point), in units of the output, as TFLite computes it.

    One path brings x to the output's scale, the other to 3/32768, where int16 saturation clips
    (x + 3) / 6 to [0, 1]; 15 fractional bits of their product are then dropped.
    """

    def saturate(v: Ints) -> Ints:
        return np.clip(v, -32768, 32767)

    def multiplier(real: np.float32) -> tuple[int, int]:
        mantissa, exponent = quantize_multiplier(float(real))
        return min((mantissa + (1 << 15)) >> 16, 32767), exponent

    fine_scale = np.float32(1 / 128) * scale_x
    out, out_exponent = multiplier(fine_scale / scale_y)
    relu, relu_exponent = multiplier(fine_scale / np.float32(3 / 32768))
    fine = saturate(np.asarray(x, np.int64) << 7)
    scaled = saturate(high_product(fine, out, 15))
    gate = saturate(fine << (relu_exponent - 1)) if relu_exponent > 0 else fine
    gate = saturate(high_product(gate, relu, 15))
    if relu_exponent > 0:
        gate = saturate(gate << 1)
    elif relu_exponent < 0:
        gate = divide_by_power(gate, -relu_exponent)
    gate = (gate + (1 << 15)) >> 1
    product = gate * scaled
    product = saturate(np.sign(product) * (np.abs(product) >> 15))
    if out_exponent > 0:
        return saturate(product << out_exponent)
    return divide_by_power(product, -out_exponent)
