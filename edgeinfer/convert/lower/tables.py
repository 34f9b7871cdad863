"""Tables of unary operators: what is stored for every value that can be stored.

LiteRT has a formula of its own for each TFLite operator on 8 bits, and `tests/oracle` holds these
against it. For ONNX the operator is a float32 one between DequantizeLinear and QuantizeLinear.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.lower.activations import (
    CLAMPS,
    Activation,
    activation_bounds,
    bounds_of,
    integer_range,
    quantized_bounds,
)
from edgeinfer.convert.lower.fixed_point import hard_swish, multiply
from edgeinfer.convert.lower.functions import unary, unary_float32
from edgeinfer.convert.lower.quantized import (
    COARSEST_Q8,
    EIGHT_BITS,
    FINEST_Q8,
    dequantized,
    q8_product,
    quantized,
    requantized,
)

Array = npt.NDArray[Any]
F32 = np.float32

_erfc = np.frompyfunc(math.erfc, 1, 1)

_XNNPACK = ("sigmoid", "tanh", "elu")
"""Operators whose table rounds after adding the zero point."""


def apply_unary(
    op: str,
    attrs: dict[str, Any],
    activation: Activation,
    values: Array,
    x: Tensor,
    y: Tensor,
    source_format: str,
) -> Array:
    """The operator on stored values of `x`, as stored values of `y`.

    Parameters
    ----------
    op : a member of `functions.UNARY`, or "quantize", "dequantize", "requantize".
    values : of the dtype of x; float32, or per-tensor quantised integers.
    x, y : what dtype and quantisation the two sides have.
    """
    bytes_only = x.dtype in EIGHT_BITS and y.dtype in EIGHT_BITS
    if op == "requantize":
        result = requantized(x, values, y, source_format)
        assert result is not None  # per tensor
    elif source_format == "tflite" and bytes_only:
        result = _tflite(op, attrs, values, x, y)
    else:
        reals = dequantized(x, values) if x.quantization is not None else values
        if op not in ("quantize", "dequantize"):
            reals = unary_float32(op, attrs, reals)
        if y.quantization is None:
            low, high = activation_bounds(activation)
            return np.clip(reals, low, high) if activation is not None else reals
        result = quantized(reals, y, source_format)
    if activation is not None and y.quantization is not None:
        result = np.clip(result, *quantized_bounds(activation, y, source_format))
    return result.astype(y.dtype)


def byte_table(
    op: str,
    attrs: dict[str, Any],
    activation: Activation,
    x: Tensor,
    y: Tensor,
    source_format: str,
) -> Array:
    """The operator for all 256 bytes of x, read as unsigned: [256] of y's dtype."""
    return apply_unary(op, attrs, activation, all_bytes(x.dtype), x, y, source_format)


def all_bytes(dtype: str) -> Array:
    """Every value of int8 or uint8, in the order of the byte read as unsigned."""
    return np.arange(256, dtype=np.uint8).view(dtype)


def int16_table(op: str, attrs: dict[str, Any], x: Tensor, y: Tensor) -> Array:
    """513 samples for linear interpolation, int16: entry i is for x = 128 * (i - 256).

    Half of the error in the middle of each step is taken off its first sample, as TFLite does.
    """
    assert x.quantization is not None and y.quantization is not None
    scale_x, zero_x = float(x.quantization.scale[0]), int(x.quantization.zero_point[0])
    scale_y, zero_y = float(y.quantization.scale[0]), int(y.quantization.zero_point[0])

    def sampled(at: Array) -> Array:
        return np.asarray(unary(op, attrs, (at - zero_x) * scale_x) / scale_y + zero_y)

    at = 128.0 * (np.arange(513) - 256)
    samples = sampled(at)
    middles = sampled(at[:-1] + 64)
    rounded = _half_away(samples)
    interpolated = _half_away((samples[:-1] + samples[1:]) / 2)
    correction = _half_away((interpolated - _half_away(middles)) / 2)
    rounded[:-1] -= correction
    rounded = np.nan_to_num(rounded, nan=zero_y)
    return np.clip(rounded, *integer_range("int16")).astype(np.int16)


def _half_away(values: Array) -> Array:
    return np.asarray(np.trunc(values + np.copysign(0.5, values)))


def _tflite(op: str, attrs: dict[str, Any], values: Array, x: Tensor, y: Tensor) -> Array:
    assert x.quantization is not None and y.quantization is not None
    scale_x, scale_y = x.quantization.scale[0], y.quantization.scale[0]
    difference = values.astype(np.int64) - x.quantization.zero_point[0]
    zero_point = int(y.quantization.zero_point[0])
    low, high = integer_range(y.dtype)
    if op == "leaky_relu":
        scaled = _leaky_relu(difference, scale_x, scale_y, F32(attrs["alpha"]))
    elif op in CLAMPS:
        scaled = multiply(difference, float(scale_x / scale_y))
        low, high = _clamp_range(op, attrs, scale_y, zero_point, (low, high))
    elif op == "abs":
        scaled = multiply(np.abs(difference), float(scale_x / scale_y))
    elif op == "hard_swish":
        scaled = hard_swish(difference, scale_x, scale_y)
    else:
        reals = _tflite_function(op, attrs, difference.astype(F32) * scale_x)
        with np.errstate(over="ignore", invalid="ignore"):
            reals = reals * (F32(1) / scale_y)
            if op in _XNNPACK:
                scaled = np.rint(reals + F32(zero_point)).astype(np.float64) - zero_point
            else:
                scaled = _half_away(reals.astype(np.float64))
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=1e9, neginf=-1e9)
    return np.asarray(np.clip(scaled + zero_point, low, high)).astype(y.dtype)


def _leaky_relu(difference: Array, scale_x: F32, scale_y: F32, alpha: F32) -> Array:
    above = scale_x / scale_y
    below = above * alpha
    if (
        FINEST_Q8 <= above <= COARSEST_Q8
        and -(COARSEST_Q8 - FINEST_Q8) <= below <= COARSEST_Q8
        and abs(below) >= FINEST_Q8
    ):
        positive, negative = q8_product(difference, above), q8_product(difference, below)
    else:
        positive = multiply(difference, float(above))
        negative = multiply(difference, float((scale_x * alpha) / scale_y))
    return np.where(difference >= 0, positive, negative)


def _clamp_range(
    op: str, attrs: dict[str, Any], scale: F32, zero_point: int, full: tuple[int, int]
) -> tuple[int, int]:
    """The bounds of a clamp that TFLite runs as an operator: rounded half away from zero."""

    def quantized_bound(bound: float | None, otherwise: int) -> int:
        if bound is None:
            return otherwise
        steps = np.float64(F32(bound) / scale)
        return int(np.clip(zero_point + _half_away(steps), *full))

    low, high = bounds_of(op, attrs)
    return quantized_bound(low, full[0]), quantized_bound(high, full[1])


def _tflite_function(op: str, attrs: dict[str, Any], x: npt.NDArray[np.float32]) -> Array:
    if op == "gelu":  # float32 operations in TFLite's order
        if attrs["approximate"]:
            inner = F32(math.sqrt(2 / math.pi)) * (x + F32(0.044715) * x * x * x)
            tanh = np.tanh(inner.astype(np.float64)).astype(F32)
            return np.asarray(F32(0.5) * x * (F32(1) + tanh))
        argument = (x * F32(-math.sqrt(0.5))).astype(np.float64)
        erfc = np.asarray(_erfc(argument), np.float64).astype(F32)
        return np.asarray(F32(0.5) * x * erfc)
    if op == "log":  # what is not positive gets the smallest integer
        x = np.maximum(x, F32(0))
    return unary_float32(op, attrs, x)
