"""Elementwise functions of real numbers, as the operators of the graph mean them.

Computed in float64 and rounded by the caller; results go into tables of the file, so that a device
computes none of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.lower.activations import CLAMPS, bounds_of

Reals = npt.NDArray[np.float64]

_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: Reals) -> Reals:
    """The error function."""
    return np.asarray(_erf(x), dtype=np.float64)


def sigmoid(x: Reals) -> Reals:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def gelu(x: Reals, approximate: bool) -> Reals:
    """x * Phi(x), or its tanh approximation."""
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return np.asarray(0.5 * x * (1 + np.tanh(inner)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def softplus(x: Reals) -> Reals:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_PLAIN: dict[str, Callable[[Reals], Reals]] = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "silu": lambda x: x * sigmoid(x),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "abs": np.abs,
    "neg": np.negative,
    "square": np.square,
    "softplus": softplus,
    "erf": erf,
}
UNARY = frozenset({*_PLAIN, *CLAMPS, "leaky_relu", "elu", "gelu", "hard_sigmoid"})
"""Operators of one operand that work element by element."""


def unary(op: str, attrs: dict[str, Any], x: Reals) -> Reals:
    """The operator's value at every x. Undefined where the function is (NaN), infinite at poles."""
    with np.errstate(all="ignore"):
        if op in CLAMPS:
            low, high = bounds_of(op, attrs)
            return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)
        if op == "leaky_relu":
            return np.where(x < 0, x * float(np.float32(attrs["alpha"])), x)
        if op == "elu":
            return np.where(x < 0, float(np.float32(attrs["alpha"])) * np.expm1(x), x)
        if op == "gelu":
            return gelu(x, attrs["approximate"])
        if op == "hard_sigmoid":
            return np.asarray(np.clip(x * attrs["alpha"] + attrs["beta"], 0, 1))
        return _PLAIN[op](x)


def unary_float32(op: str, attrs: dict[str, Any], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The operator at float32 numbers; infinite beyond its range.

    Rounded to float32 once, but for operators that are a few float32 operations in ONNX Runtime.
    """
    if op in ("hard_swish", "hard_sigmoid"):
        slope, offset = (1 / 6, 0.5) if op == "hard_swish" else (attrs["alpha"], attrs["beta"])
        gate = np.clip(x * np.float32(slope) + np.float32(offset), np.float32(0), np.float32(1))
        return np.asarray(x * gate if op == "hard_swish" else gate, np.float32)
    with np.errstate(over="ignore"):
        return unary(op, attrs, x.astype(np.float64)).astype(np.float32)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
"""Operators of two operands that work element by element."""
