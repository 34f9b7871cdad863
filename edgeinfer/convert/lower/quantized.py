"""Quantised numbers at conversion: constants brought to another type, tables, bounds.

The formulas are those of the runtime's operators (docs/internals/numerics.md), so that a constant
folded here has the bits that the device would have computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.lower.activations import integer_range
from edgeinfer.convert.lower.fixed_point import multiply_rounding_up

Array = npt.NDArray[Any]


def _along(values: Array, tensor: Tensor) -> Array:
    """Per-channel values shaped to broadcast against the tensor."""
    if values.size == 1:
        return values.reshape(())
    assert tensor.quantization is not None
    shape = [1] * len(tensor.shape)
    shape[tensor.quantization.axis] = values.size
    return values.reshape(shape)


def dequantized(x: Tensor, data: Array) -> Array:
    """(f32(q) - f32(zero_point)) * scale, in float32. The difference is exact below 2^24."""
    assert x.quantization is not None
    scale = _along(x.quantization.scale, x)
    zero_point = _along(x.quantization.zero_point, x)
    difference = data.astype(np.int64) - zero_point
    return np.asarray(difference.astype(np.float32) * scale, dtype=np.float32)


def quantized(values: Array, y: Tensor, source_format: str) -> Array:
    """clamp(rne(v / scale) + zero_point); TFLite multiplies by the float32 reciprocal instead."""
    assert y.quantization is not None
    scale = _along(y.quantization.scale, y)
    zero_point = _along(y.quantization.zero_point, y)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(values, np.float32)
        if source_format == "tflite":
            scaled = values * (np.float32(1) / scale)
        else:
            scaled = values / scale
        low, high = integer_range(y.dtype)
        rounded = np.nan_to_num(np.rint(scaled.astype(np.float64)), nan=0.0) + zero_point
    return np.asarray(np.clip(rounded, low, high)).astype(y.dtype)


def requantized(x: Tensor, data: Array, y: Tensor, source_format: str) -> Array | None:
    """Integers of one quantisation as integers of another, or None where it is per channel.

    From TFLite, 8 bits to 8 bits are what LiteRT makes of QUANTIZE: int8 to int8 with a multiplier
    of 8 fractional bits (XNNPACK) where the ratio of scales lets it, else in fixed point. From
    ONNX they are a QuantizeLinear of a DequantizeLinear. Wider types are what the runtime's
    requantize computes: one float32 multiplication.
    """
    if x.quantization is None or y.quantization is None:
        return None
    if not (x.quantization.is_per_tensor and y.quantization.is_per_tensor):
        return None
    scale_x, scale_y = x.quantization.scale[0], y.quantization.scale[0]
    if x.dtype in EIGHT_BITS and source_format != "tflite":
        return quantized(dequantized(x, data), y, source_format)
    difference = data.astype(np.int64) - x.quantization.zero_point[0]
    if x.dtype in EIGHT_BITS and y.dtype in EIGHT_BITS:
        signed = x.dtype == "int8" and y.dtype == "int8"
        if signed and FINEST_Q8 <= scale_x / scale_y <= COARSEST_Q8:
            scaled = q8_product(difference, scale_x / scale_y)
        else:
            scaled = multiply_rounding_up(difference, float(scale_x) / float(scale_y))
    else:
        scaled = np.rint((difference.astype(np.float32) * (scale_x / scale_y)).astype(np.float64))
    low, high = integer_range(y.dtype)
    return np.asarray(np.clip(scaled + y.quantization.zero_point[0], low, high)).astype(y.dtype)


EIGHT_BITS = ("int8", "uint8")
FINEST_Q8, COARSEST_Q8 = 2.0**-8, 2.0**7
"""Ratios that XNNPACK's multipliers of 8 fractional bits can hold."""


def q8_product(difference: Array, ratio: np.float32) -> Array:
    """(difference * rne(256 * ratio) + 128) >> 8: XNNPACK's requantisation of int8."""
    multiplier = int(np.rint(np.float32(256) * ratio))
    return (difference * multiplier + 128) >> 8
