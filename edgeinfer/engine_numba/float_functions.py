"""Element by element on float32: arithmetic, activations, functions.

Source: "Functions of float32" in docs/internals/numerics.md. The numbers of the functions are part
of the file format; they are those of the operators unary_f32 and binary_f32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba import float_math as f
from edgeinfer.engine_numba.compile import kernel
from edgeinfer.engine_numba.double_math import binary_f64, unary_f64
from edgeinfer.engine_numba.exact import absolute, ceil, floor, fma, rint, square_root
from edgeinfer.engine_numba.node import Node, Run, band, row_elements
from edgeinfer.engine_numba.rounding import bounded

_ZERO, _ONE = f.ZERO, f.ONE
_MOST_KIND = 26  # of those in float32
_FIRST_F64, _LAST_F64 = 65, 76
_FIRST_BINARY_F64, _LAST_BINARY = 7, 10

_exp, _sigmoid, _tanh, _silu, _gelu, _gelu_tanh, _erf = (
    f.exp, f.sigmoid, f.tanh, f.silu, f.gelu, f.gelu_tanh, f.erf,
)  # fmt: skip
_expm1_below, _mish, _log, _larger, _smaller = (
    f.expm1_below, f.mish, f.log, f.larger, f.smaller,
)  # fmt: skip
_maximum, _minimum = f.maximum, f.minimum


@kernel
def _smooth(kind: Any, x: Any) -> Any:
    """Kinds without parameters that are made of an exponential."""
    if kind == 1:
        return _exp(x)
    if kind == 2:
        return _sigmoid(x)
    if kind == 3:
        return _tanh(x)
    if kind == 4:
        return _silu(x)
    if kind == 5:
        return _gelu(x)
    if kind == 6:
        return _gelu_tanh(x)
    if kind == 7:
        return _erf(x)
    if kind == 12:
        return _mish(x)
    return _log(x)


@kernel
def _plain(kind: Any, x: Any, alpha: Any, beta: Any, gamma: Any) -> Any:
    """The other kinds."""
    if kind == 0:
        return x
    if kind == 8 or kind == 9:
        gate = _smaller(_ONE, _larger(_ZERO, fma(alpha, x, beta)))
        return gate if kind == 8 else x * gate
    if kind == 10:
        return x * alpha if x < _ZERO else x
    if kind == 11:
        return x * gamma if x > _ZERO else _expm1_below(_smaller(_ZERO, x * beta)) * alpha
    if kind == 13:
        return square_root(x)
    if kind == 14:
        return _ONE / square_root(x)
    if kind == 15:
        return _ONE / x
    if kind == 16:
        return absolute(x)
    if kind == 17:
        return -x
    if kind == 18:
        return x * x
    if kind == 19:
        return floor(x)
    if kind == 20:
        return ceil(x)
    if kind == 21:
        return rint(x)
    if kind == 22:
        if x > _ZERO:
            return _ONE
        return -_ONE if x < _ZERO else x
    if kind == 23:
        return x / (absolute(x) + _ONE)
    if kind == 24:
        return x if alpha < x or x != x else _ZERO
    if x < -alpha:
        return x + beta
    if alpha < x:
        return x - beta
    return x if x != x else _ZERO


@kernel
def _unary(
    x: Any, y: Any, kind: Any, alpha: Any, beta: Any, gamma: Any, low: Any, high: Any
) -> None:
    if 1 <= kind <= 7 or kind == 12 or kind == 26:
        for i in range(y.size):
            y[i] = bounded(_smooth(kind, x[i]), low, high)
    else:
        for i in range(y.size):
            y[i] = bounded(_plain(kind, x[i], alpha, beta, gamma), low, high)


def unary_f32(node: Node) -> Run:
    """x -> y"""
    node.same(0, "x", "float32")
    node.dtype(node.y, "y", "float32")
    kind = node.integer("kind", 0, _LAST_F64)
    node.require(not _MOST_KIND < kind < _FIRST_F64, f"kind: there is none with number {kind}")
    alpha, beta, gamma = (node.real(name) for name in ("alpha", "beta", "gamma"))
    low, high = node.bounds()
    per_row = row_elements(node.y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        x = inputs[0].reshape(-1)[begin * per_row : end * per_row]
        y = output.reshape(-1)[begin * per_row : end * per_row]
        if kind < _FIRST_F64:
            _unary(x, y, kind, alpha, beta, gamma, low, high)
        else:
            unary_f64(x, y, kind, low, high)

    return run


@kernel
def _binary(a: Any, b: Any, y: Any, kind: Any, low: Any, high: Any) -> None:
    for i in range(y.size):
        p, q = a[i], b[i]
        if kind == 0:
            value = p + q
        elif kind == 1:
            value = p - q
        elif kind == 2:
            value = p * q
        elif kind == 3:
            value = p / q
        elif kind == 4:
            value = _maximum(p, q)
        elif kind == 5:
            value = _minimum(p, q)
        else:
            value = p * q if p < _ZERO else p
        y[i] = bounded(value, low, high)


def binary_f32(node: Node) -> Run:
    """a, b -> y"""
    shape = node.y.shape
    node.dtype(node.y, "y", "float32")
    node.present(0, "a", "float32")
    node.present(1, "b", "float32")
    node.broadcast("a", "b")
    kind = node.integer("kind", 0, _LAST_BINARY)
    low, high = node.bounds()
    function = _binary if kind < _FIRST_BINARY_F64 else binary_f64

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        function(
            band(inputs[0], shape, begin, end), band(inputs[1], shape, begin, end),
            band(output, shape, begin, end), kind, low, high,
        )  # fmt: skip

    return run


def classify_f32(node: Node) -> Run:
    """x -> y"""
    node.same(0, "x", "float32")
    node.dtype(node.y, "y", "bool")
    classes = node.integer("classes", 0, 7)
    per_row = row_elements(node.y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        x = inputs[0].reshape(-1)[begin * per_row : end * per_row]
        found = np.zeros(x.size, bool)
        if classes & 1:
            found |= np.isnan(x)
        if classes & 2:
            found |= x == np.inf
        if classes & 4:
            found |= x == -np.inf
        output.reshape(-1)[begin * per_row : end * per_row] = found

    return run
