"""Real functions, in float64: what float32 results are measured against."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))


def _limited(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """`function` of x >= -1e3: from there on it is the -0 that it tends to."""
    return lambda x: np.where(x < -1e3, -0.0, function(np.where(x < -1e3, -1.0, x)))


def _gelu_tanh(x: Array) -> Array:
    u = 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * _sigmoid(u)


def _softplus(x: Array) -> Array:
    return np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "clip": lambda x: x,
    "exp": np.exp,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": _limited(lambda x: x * _sigmoid(x)),
    "gelu": _limited(lambda x: 0.5 * x * _erfc(-x * math.sqrt(0.5))),
    "gelu_tanh": _limited(_gelu_tanh),
    "erf": _erf,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "mish": _limited(lambda x: x * np.tanh(_softplus(x))),
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "abs": np.abs,
    "neg": np.negative,
    "square": np.square,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": lambda x: np.where(x == 0, x, np.sign(x)),
    "softsign": lambda x: np.where(np.isinf(x), np.nan, x / (1 + np.abs(x))),
    "softplus": _softplus,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


def real_unary(kind: str, x: Array) -> Array:
    """The function of float32 numbers, in float64."""
    with np.errstate(all="ignore"):
        return np.asarray(_UNARY[kind](x.astype(np.float64)), np.float64)


def real_binary(kind: str, a: Array, b: Array) -> Array:
    """The same of two operands that broadcast."""
    functions = {"pow": np.power, "fmod": np.fmod, "mod": np.mod, "atan2": np.arctan2}
    with np.errstate(all="ignore"):
        return np.asarray(functions[kind](a.astype(np.float64), b.astype(np.float64)), np.float64)
