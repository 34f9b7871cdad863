"""Activations that only bound: relu, relu6, relu_n1_to_1 and clip, as ranges of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

Activation = str | tuple[str, float | None, float | None] | None
Bounds = tuple[float | None, float | None]

_NAMED: dict[str, Bounds] = {
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}
CLAMPS = ("relu", "relu6", "relu_n1_to_1", "clip")
"""Operators that are such activations on their own."""

_RANGES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
}


def integer_range(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer dtype."""
    return _RANGES[dtype]


def bounds_of(op: str, attrs: dict[str, Any]) -> Bounds:
    """Real bounds of an operator in `CLAMPS`; None where open."""
    return (attrs["min"], attrs["max"]) if op == "clip" else _NAMED[op]


def activation_bounds(activation: Activation) -> Bounds:
    """Real bounds of a fused activation; None where open."""
    if activation is None:
        return None, None
    return _NAMED[activation] if isinstance(activation, str) else activation[1:]


def chained(first: Activation, then: Bounds) -> Activation:
    """One activation for `first` followed by the bounds `then`."""

    def limit(value: float | None) -> float | None:
        if value is None:
            return None
        return float(np.clip(value, then[0], then[1])) if then != (None, None) else value

    low, high = activation_bounds(first)
    low, high = limit(low), limit(high)
    bounds = (then[0] if low is None else low, then[1] if high is None else high)
    for name, named in _NAMED.items():
        if bounds == named:
            return name
    return None if bounds == (None, None) else ("clip", *bounds)


def float_bounds(activation: Activation) -> dict[str, int | float]:
    """clamp_min and clamp_max of an operator on float32; infinite where open."""
    low, high = activation_bounds(activation)
    smallest = -np.inf if low is None else float(np.float32(low))
    return {"clamp_min": smallest, "clamp_max": np.inf if high is None else float(np.float32(high))}


def quantized_bounds(activation: Activation, y: Tensor, source_format: str) -> tuple[int, int]:
    """The integer range that an activation leaves of the per-tensor quantised tensor `y`.

    From TFLite, a bound becomes rne(f32(bound) / s + zero_point); from ONNX, where the clamp is a
    float operator before a QuantizeLinear, rne(f32(bound) / s) + zero_point. They differ in ties.
    """
    assert y.quantization is not None
    smallest, largest = integer_range(y.dtype)
    scale = y.quantization.scale[0]
    zero_point = int(y.quantization.zero_point[0])

    def quantized(bound: float) -> int:
        with np.errstate(over="ignore"):
            value = np.float32(bound) / scale
            if source_format == "tflite":
                value = np.rint(value + np.float32(zero_point))
            else:
                value = np.rint(value) + np.float64(zero_point)
        return int(np.clip(value, smallest, largest))

    low, high = activation_bounds(activation)
    return (
        smallest if low is None else quantized(low),
        largest if high is None else quantized(high),
    )
