"""Unary operators on 8 bits as tables: entry i is the result for input q = i - 128.

Every function takes the quantisation of input and output and returns int8[256]. Which formula an
operator has depends on who runs it in LiteRT; the docstrings say so. Transcendental functions
are computed in float64 and rounded to float32: correctly rounded but for one case in 2^29.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .fixed_point import (
    multiply_by_quantized_multiplier,
    multiply_rounding_up,
    quantize_multiplier,
    rounding_divide_by_power,
    rounding_high_mul,
)

F32 = np.float32
FloatFunction = Callable[[np.ndarray], np.ndarray]


def _inputs(zp_x: int) -> np.ndarray:
    """q - zp_x for every q, int64."""
    return np.arange(-128, 128) - zp_x


def _reals(s_x: float, zp_x: int) -> np.ndarray:
    return _inputs(zp_x).astype(F32) * F32(s_x)


def _int8(values: np.ndarray, lo: int = -128, hi: int = 127) -> np.ndarray:
    return np.clip(values, lo, hi).astype(np.int8)


def _round_half_away(x: np.ndarray) -> np.ndarray:
    return np.trunc(x + np.copysign(0.5, x.astype(np.float64)))


def _in_float64(function: FloatFunction) -> FloatFunction:
    def rounded(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return function(x.astype(np.float64)).astype(F32)

    return rounded


_erfc = np.vectorize(math.erfc, otypes=[np.float64])
tanh_of_float = _in_float64(np.tanh)
exp_of_float = _in_float64(np.exp)
sigmoid_of_float = _in_float64(lambda x: 1.0 / (1.0 + np.exp(-x)))
_expm1 = _in_float64(np.expm1)


def elu_of_float(x: np.ndarray) -> np.ndarray:
    """ELU with alpha 1 on float32."""
    return np.where(x < 0, _expm1(np.minimum(x, F32(0))), x)


def xnnpack_float_table(
    function: FloatFunction, s_x: float, zp_x: int, s_y: float, zp_y: int
) -> np.ndarray:
    """clamp(rne(function(x) * (1 / s_y) + zp_y)), float32 throughout, one rounding at the end.

    `function` takes and returns float32 arrays.
    """
    scaled = function(_reals(s_x, zp_x)) * (F32(1) / F32(s_y))
    return _int8(np.rint(scaled + F32(zp_y)))


def builtin_float_table(
    function: FloatFunction, s_x: float, zp_x: int, s_y: float, zp_y: int
) -> np.ndarray:
    """clamp(round_half_away(function(x) * (1 / s_y)) + zp_y), float32: TFLite's tables."""
    with np.errstate(over="ignore"):
        scaled = function(_reals(s_x, zp_x)) * (F32(1) / F32(s_y))
    return _int8(_round_half_away(scaled) + zp_y)


def onnx_float_table(
    function: FloatFunction, s_x: float, zp_x: int, s_y: float, zp_y: int
) -> np.ndarray:
    """clamp(rne(function(x) / s_y) + zp_y), float32: DequantizeLinear, f, QuantizeLinear.

    What onnxruntime gives for a unary operator between the two, fused or not. The identity gives
    its requantisation.
    """
    with np.errstate(over="ignore"):
        scaled = function(_reals(s_x, zp_x)) / F32(s_y)
    return _int8(np.rint(scaled) + zp_y)


def logistic(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """LOGISTIC (XNNPACK)."""
    return xnnpack_float_table(sigmoid_of_float, s_x, zp_x, s_y, zp_y)


def tanh(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """TANH (XNNPACK)."""
    return xnnpack_float_table(tanh_of_float, s_x, zp_x, s_y, zp_y)


def elu(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """ELU with alpha 1 (XNNPACK)."""
    return xnnpack_float_table(elu_of_float, s_x, zp_x, s_y, zp_y)


def gelu(s_x: float, zp_x: int, s_y: float, zp_y: int, approximate: bool = False) -> np.ndarray:
    """GELU (TFLite's builtin): 0.5 x erfc(-x / sqrt 2), or the tanh approximation."""

    def exact(x: np.ndarray) -> np.ndarray:
        argument = x * F32(-math.sqrt(0.5))
        return F32(0.5) * x * _erfc(argument.astype(np.float64)).astype(F32)

    def approximation(x: np.ndarray) -> np.ndarray:
        inner = F32(math.sqrt(2 / math.pi)) * (x + F32(0.044715) * x * x * x)
        return F32(0.5) * x * (F32(1) + tanh_of_float(inner))

    return builtin_float_table(approximation if approximate else exact, s_x, zp_x, s_y, zp_y)


def exp(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """EXP (TFLite's builtin)."""
    return builtin_float_table(exp_of_float, s_x, zp_x, s_y, zp_y)


def log(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """LOG (TFLite's builtin); entries for x <= 0 are -128."""

    def function(x: np.ndarray) -> np.ndarray:
        safe = np.where(x > 0, x, F32(1)).astype(np.float64)
        return np.where(x > 0, np.log(safe).astype(F32), F32(-np.inf))

    return builtin_float_table(function, s_x, zp_x, s_y, zp_y)


def requantize_is_delegated(s_x: float, s_y: float) -> bool:
    """True if XNNPACK takes QUANTIZE from int8 to int8: 2^-8 <= s_x / s_y <= 2^7."""
    ratio = F32(s_x) / F32(s_y)
    return bool(2.0**-8 <= ratio <= 2.0**7)


def requantize(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """QUANTIZE from int8 to int8: a multiplier with 8 fractional bits (XNNPACK).

    Where XNNPACK does not take the ratio of the scales, TFLite's builtin fixed point.
    """
    x = _inputs(zp_x)
    if not requantize_is_delegated(s_x, s_y):
        return requantize_builtin(s_x, zp_x, s_y, zp_y)
    multiplier = int(np.rint(F32(256) * (F32(s_x) / F32(s_y))))
    return _int8(((x * multiplier + 128) >> 8) + zp_y)


def requantize_builtin(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """QUANTIZE between 8-bit types as TFLite's builtin does it.

    For uint8 on either side, subtract 128 from that side's zero point and index or read the
    table with the top bit flipped.
    """
    return _int8(multiply_rounding_up(_inputs(zp_x), float(F32(s_x)) / float(F32(s_y))) + zp_y)


def leaky_relu_is_delegated(s_x: float, s_y: float, alpha: float) -> bool:
    """True if XNNPACK takes LEAKY_RELU: both slopes must fit its 8.8 fixed point."""
    positive = F32(s_x) / F32(s_y)
    negative = positive * F32(alpha)
    return bool(
        2.0**-8 <= positive <= 2.0**7
        and -(2.0**7 - 2.0**-8) <= negative <= 2.0**7
        and abs(negative) >= 2.0**-8
    )


def leaky_relu(s_x: float, zp_x: int, s_y: float, zp_y: int, alpha: float) -> np.ndarray:
    """LEAKY_RELU: as `requantize`, with a multiplier of its own below zero (XNNPACK).

    Where XNNPACK does not take the slopes, TFLite's builtin fixed point.
    """
    x = _inputs(zp_x)
    positive = F32(s_x) / F32(s_y)
    if leaky_relu_is_delegated(s_x, s_y, alpha):
        above = int(np.rint(F32(256) * positive))
        below = int(np.rint(F32(256) * (positive * F32(alpha))))
        return _int8(((x * np.where(x >= 0, above, below) + 128) >> 8) + zp_y)
    slope = float((F32(s_x) * F32(alpha)) / F32(s_y))
    scaled = np.where(
        x >= 0,
        multiply_by_quantized_multiplier(x, float(positive)),
        multiply_by_quantized_multiplier(x, slope),
    )
    return _int8(scaled + zp_y)


def clipped(
    s_x: float, zp_x: int, s_y: float, zp_y: int, lower: float, upper: float | None
) -> np.ndarray:
    """RELU (0, None), RELU6 (0, 6), RELU_N1_TO_1 (-1, 1) as operators (TFLite's builtin).

    With equal quantisation on both sides this is a plain clamp.
    """
    scale = F32(s_y)
    lo = max(-128, zp_y + int(_round_half_away(np.asarray(F32(lower) / scale))))
    hi = 127
    if upper is not None:
        hi = min(127, zp_y + int(_round_half_away(np.asarray(F32(upper) / scale))))
    ratio = float(F32(s_x) / scale)
    return _int8(multiply_by_quantized_multiplier(_inputs(zp_x), ratio) + zp_y, lo, hi)


def absolute(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """ABS (TFLite's builtin)."""
    ratio = float(F32(s_x) / F32(s_y))
    return _int8(multiply_by_quantized_multiplier(np.abs(_inputs(zp_x)), ratio) + zp_y)


def hard_swish(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    """HARD_SWISH, x * relu6(x + 3) / 6, in 16-bit fixed point (TFLite's builtin).

    x is brought to 1/128 of its scale; one path rescales it to the output, the other to
    3/32768, where saturation clips (x + 3) / 6 to [0, 1]; then they are multiplied.
    """
    fine_scale = F32(1 / 128) * F32(s_x)
    out_mantissa, out_exponent = _multiplier16(float(fine_scale / F32(s_y)))
    gate_mantissa, gate_exponent = _multiplier16(float(fine_scale / F32(3 / 32768)))
    fine = _saturate16(_inputs(zp_x) << 7)
    scaled = _saturate16(rounding_high_mul(fine, out_mantissa, bits=15))
    gate = fine
    if gate_exponent > 0:
        gate = _saturate16(gate << (gate_exponent - 1))
    gate = _saturate16(rounding_high_mul(gate, gate_mantissa, bits=15))
    if gate_exponent > 0:
        gate = _saturate16(gate << 1)
    elif gate_exponent < 0:
        gate = rounding_divide_by_power(gate, -gate_exponent)
    gate = (gate + (1 << 15)) >> 1
    product = gate * scaled
    product = _saturate16(np.where(product >= 0, product >> 15, -((-product) >> 15)))
    if out_exponent > 0:
        return _int8(_saturate16(product << out_exponent) + zp_y)
    return _int8(rounding_divide_by_power(product, -out_exponent) + zp_y)


def _multiplier16(real: float) -> tuple[int, int]:
    mantissa, exponent = quantize_multiplier(real)
    return min((mantissa + (1 << 15)) >> 16, 32767), exponent


def _saturate16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -32768, 32767)
