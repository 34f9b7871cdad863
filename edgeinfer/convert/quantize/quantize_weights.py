"""Weights as int8, symmetric, one scale per output channel; biases as integers of the accumulator.

    scale[c] = max(abs(w[c])) / 127            float32
    q = clamp(rne(w / scale[c]), -127, 127)

-128 is not used: the range is symmetric, and so are products. Where a bias would not fit the
accumulator at that scale (channels whose weights are tiny or zero beside their bias), the channel's
scale is made coarser until it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Quantization

Floats = npt.NDArray[np.float32]

LIMIT = 127
MAX_BIAS = 2.0**29
"""In units of the accumulator: leaves room in int32 for the products."""
_FINEST = np.float32(2.0**-60)

CHANNEL_AXIS = {"conv2d": 0, "depthwise_conv2d": 2, "transpose_conv2d": 0, "fully_connected": 0}
"""The axis of the weights that is the output channel."""


def weight_scales(weights: Floats, axis: int) -> Floats:
    """One scale per output channel, from the largest absolute weight of each."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others) if weights.size else np.zeros(0, np.float32)
    return np.asarray(np.maximum(largest.astype(np.float32) / np.float32(LIMIT), _FINEST))


def scales_for_bias(scales: Floats, bias: Floats | None, input_scale: float) -> Floats:
    """The scales, coarser where the bias would leave the accumulator."""
    if bias is None:
        return scales
    needed = np.abs(bias.astype(np.float64)) / (float(input_scale) * MAX_BIAS)
    return np.maximum(scales, needed.astype(np.float32))


def along(values: npt.NDArray[Any], axis: int, rank: int) -> npt.NDArray[Any]:
    """One value per channel, shaped to broadcast over `rank` axes."""
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def quantized_weights(weights: Floats, scales: Floats, axis: int) -> npt.NDArray[np.int8]:
    """The nearest integers, at most 127 from zero."""
    steps = np.rint(weights.astype(np.float64) / along(scales, axis, weights.ndim))
    return np.asarray(np.clip(steps, -LIMIT, LIMIT)).astype(np.int8)


def weight_quantization(scales: Floats, axis: int) -> Quantization:
    """Symmetric, per channel."""
    return Quantization(scales.astype(np.float32), np.zeros(scales.size, np.int64), axis)


def quantized_bias(bias: Floats, scales: Floats, input_scale: np.float32) -> npt.NDArray[np.int64]:
    """The bias in units of s_x * s_w, rounded to nearest even."""
    units = (np.float32(input_scale) * scales.astype(np.float32)).astype(np.float64)
    return np.asarray(np.rint(bias.astype(np.float64) / units)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ChosenWeights:
    """The integers of one layer's weights and their scales, one per output channel."""

    values: npt.NDArray[np.int8]
    scales: Floats

    def real(self, axis: int) -> npt.NDArray[np.float64]:
        """The weights that the integers stand for; `axis` is that of output channels."""
        scales = along(self.scales.astype(np.float64), axis, self.values.ndim)
        return np.asarray(self.values * scales)


def choose_weights(
    weights: Floats, bias: Floats | None, input_scale: float, axis: int
) -> ChosenWeights:
    """Scales from the largest weights, every weight rounded to the nearest integer."""
    scales = scales_for_bias(weight_scales(weights, axis), bias, input_scale)
    return ChosenWeights(quantized_weights(weights, scales, axis), scales)
