"""What the operators mean that only float models have: part of `tests.oracle.graph`.

Every function takes the node and its operands: real numbers in float64, integers and booleans as
they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Node

Function = Callable[..., Any]


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x))))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _selu(node: Node, x: np.ndarray) -> np.ndarray:
    alpha, gamma = node.attrs["alpha"], node.attrs["gamma"]
    return gamma * np.where(x > 0, x, alpha * np.expm1(x))


def _celu(node: Node, x: np.ndarray) -> np.ndarray:
    alpha = node.attrs["alpha"]
    return np.where(x > 0, x, alpha * np.expm1(x / alpha))


def _shrink(node: Node, x: np.ndarray) -> np.ndarray:
    lambd, bias = node.attrs["lambd"], node.attrs["bias"]
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


def _is_inf(node: Node, x: np.ndarray) -> np.ndarray:
    return (np.isposinf(x) & node.attrs["positive"]) | (np.isneginf(x) & node.attrs["negative"])


def _mod(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.fmod(a, b) if node.attrs["fmod"] else np.mod(a, b)


def _log_softmax(node: Node, x: np.ndarray) -> np.ndarray:
    axis = node.attrs["axis"]
    centred = x - x.max(axis=axis, keepdims=True)
    return centred - np.log(np.exp(centred).sum(axis=axis, keepdims=True))


def _layer_norm(
    node: Node, x: np.ndarray, scale: np.ndarray | None = None, bias: np.ndarray | None = None
) -> np.ndarray:
    axes = tuple(range(node.attrs["axis"], x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    y = centred / np.sqrt(np.mean(centred**2, axis=axes, keepdims=True) + node.attrs["epsilon"])
    y = y if scale is None else y * scale
    return y if bias is None else y + bias


def _rms_norm(node: Node, x: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    axes = tuple(range(node.attrs["axis"], x.ndim))
    y = x / np.sqrt(np.mean(x**2, axis=axes, keepdims=True) + node.attrs["epsilon"])
    return y if scale is None else y * scale


def _cumsum(node: Node, x: np.ndarray) -> np.ndarray:
    axis = node.attrs["axis"]
    x = np.flip(x, axis) if node.attrs["reverse"] else x
    y = np.cumsum(x, axis)
    y = y - x if node.attrs["exclusive"] else y
    return np.flip(y, axis) if node.attrs["reverse"] else y


def _cast(node: Node, x: np.ndarray) -> np.ndarray:
    target = node.output.dtype
    if np.issubdtype(np.dtype(target), np.integer):
        return np.trunc(x).astype(np.int64)
    return x


REAL: dict[str, Function] = {
    "acos": lambda node, x: np.arccos(x),
    "acosh": lambda node, x: np.arccosh(x),
    "asin": lambda node, x: np.arcsin(x),
    "asinh": lambda node, x: np.arcsinh(x),
    "atan": lambda node, x: np.arctan(x),
    "atanh": lambda node, x: np.arctanh(x),
    "cast": _cast,
    "ceil": lambda node, x: np.ceil(x),
    "celu": _celu,
    "cos": lambda node, x: np.cos(x),
    "cosh": lambda node, x: np.cosh(x),
    "cumsum": _cumsum,
    "div": lambda node, a, b: a / b,
    "floor": lambda node, x: np.floor(x),
    "layer_norm": _layer_norm,
    "log_softmax": _log_softmax,
    "mish": lambda node, x: x * np.tanh(_softplus(x)),
    "mod": _mod,
    "pow": lambda node, a, b: np.power(a, b),
    "atan2": lambda node, a, b: np.arctan2(a, b),
    "reciprocal": lambda node, x: 1 / x,
    "reduce_prod": lambda node, x: np.prod(
        x, axis=node.attrs["axes"], keepdims=node.attrs["keep_dims"]
    ),
    "rms_norm": _rms_norm,
    "round": lambda node, x: np.rint(x),
    "selu": _selu,
    "shrink": _shrink,
    "sign": lambda node, x: np.sign(x),
    "sin": lambda node, x: np.sin(x),
    "sinh": lambda node, x: np.sinh(x),
    "softsign": lambda node, x: x / (1 + np.abs(x)),
    "tan": lambda node, x: np.tan(x),
    "thresholded_relu": lambda node, x: np.where(x > node.attrs["alpha"], x, 0),
}
"""Results are real numbers, stored as the output wants them."""

PLAIN: dict[str, Function] = {
    "equal": lambda node, a, b: a == b,
    "greater": lambda node, a, b: a > b,
    "greater_or_equal": lambda node, a, b: a >= b,
    "is_inf": _is_inf,
    "is_nan": lambda node, x: np.isnan(x),
    "less": lambda node, a, b: a < b,
    "less_or_equal": lambda node, a, b: a <= b,
    "logical_and": lambda node, a, b: a & b,
    "logical_not": lambda node, x: ~x,
    "logical_or": lambda node, a, b: a | b,
    "logical_xor": lambda node, a, b: a ^ b,
    "where": lambda node, condition, a, b: np.where(condition, a, b),
}
"""Operands and results as they are stored, none of them quantised."""


def top_k(node: Node, operands: list[np.ndarray]) -> list[np.ndarray]:
    """Values and indices; of equal elements the first wins."""
    (x,), axis, k = operands, node.attrs["axis"], node.attrs["k"]
    order = np.argsort(-x if node.attrs["largest"] else x, axis=axis, kind="stable")
    chosen = np.take(order, np.arange(k), axis=axis).astype(np.int64)
    return [np.take_along_axis(x, chosen, axis), chosen]
