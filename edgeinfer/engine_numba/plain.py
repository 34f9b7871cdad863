"""Plain numbers: integers without a quantisation, bool, casts, comparisons.

Source: "Plain numbers" in docs/internals/numerics.md. Arithmetic is done in int64, modulo 2^64, and
the low bits are stored; to bool, whether they are not 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import inline, kernel
from edgeinfer.engine_numba.node import ANY, INTEGER, Array, Node, Run, band, row_elements
from edgeinfer.engine_numba.sums import folding

_ZERO, _ONE = np.int64(0), np.int64(1)
_LAST_BINARY, _LAST_UNARY, _LAST_REDUCTION, _LAST_COMPARISON = 11, 3, 4, 2


def _put(y: Array, values: Array) -> None:
    """The low bytes of int64, or whether they are not 0."""
    y[...] = values != 0 if y.dtype == np.bool_ else values.astype(y.dtype)


@inline
def _divided(a: Any, b: Any) -> Any:
    """a / b towards 0; by 0 it is 0."""
    if b == 0:
        return _ZERO
    if b == -1:
        return -a  # wraps around
    quotient = a // b
    if quotient < 0 and quotient * b != a:
        quotient += 1
    return quotient


@inline
def _remainder(a: Any, b: Any) -> Any:
    """With the sign of a; by 0 it is 0."""
    if b == 0 or b == -1:
        return _ZERO
    return a - _divided(a, b) * b


@inline
def _raised(a: Any, b: Any) -> Any:
    if b < 0:
        if a == 1:
            return _ONE
        if a == -1:
            return -_ONE if b & 1 else _ONE
        return _ZERO
    power = _ONE
    while b > 0:
        if b & 1:
            power = power * a
        a = a * a
        b >>= 1
    return power


@kernel
def _binary(a: Any, b: Any, y: Any, kind: Any) -> None:
    for i in range(y.size):
        p, q = a[i], b[i]
        if kind == 0:
            value = p + q
        elif kind == 1:
            value = p - q
        elif kind == 2:
            value = p * q
        elif kind == 3:
            value = _divided(p, q)
        elif kind == 4:
            value = max(p, q)
        elif kind == 5:
            value = min(p, q)
        elif kind == 6:
            value = _raised(p, q)
        elif kind == 7:
            value = _remainder(p, q)
        elif kind == 8:
            value = _remainder(p, q)
            if value != 0 and (value < 0) != (q < 0):
                value += q
        elif kind == 9:
            value = p & q
        elif kind == 10:
            value = p | q
        else:
            value = p ^ q
        y[i] = value


def binary_int(node: Node) -> Run:
    """a, b -> y"""
    y = node.y
    node.dtype(y, "y", *INTEGER)
    node.present(0, "a", y.dtype)
    node.present(1, "b", y.dtype)
    node.broadcast("a", "b")
    kind = node.integer("kind", 0, _LAST_BINARY)
    shape = y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        a, b = (band(x, shape, begin, end).astype(np.int64) for x in inputs)
        found = np.empty_like(a)
        _binary(a, b, found, kind)
        _put(band(output, shape, begin, end), found)

    return run


def unary_int(node: Node) -> Run:
    """x -> y"""
    x = node.same(0, "x", *INTEGER)
    node.dtype(node.y, "y", x.dtype)
    kind = node.integer("kind", 0, _LAST_UNARY)
    function: Any = (np.negative, np.abs, np.sign, np.invert)[kind]
    if kind == 3 and x.dtype == "bool":
        function = np.logical_not
    per_row = row_elements(x.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        part = slice(begin * per_row, end * per_row)
        values = function(inputs[0].reshape(-1)[part].astype(np.int64))
        _put(output.reshape(-1)[part], values)

    return run


def reduce_int(node: Node) -> Run:
    """x -> y"""
    x = node.present(0, "x", *INTEGER)
    node.dtype(node.y, "y", x.dtype)
    fold = folding(node, x)
    kind = node.integer("kind", 0, _LAST_REDUCTION)
    function: Any = (np.sum, np.sum, np.prod, np.max, np.min)[kind]

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        values = function(fold.of(inputs[0], begin, end).astype(np.int64), axis=1)
        if kind == 1:
            down = values // fold.terms
            values = down + ((values < 0) & (down * fold.terms != values))
        y = output.reshape(-1)[begin * fold.per_row : end * fold.per_row]
        _put(y, values)

    return run


def compare(node: Node) -> Run:
    """a, b -> y"""
    a = node.present(0, "a", *ANY)
    node.present(1, "b", a.dtype)
    node.dtype(node.y, "y", "bool")
    node.broadcast("a", "b")
    function: Any = (np.equal, np.less, np.less_equal)[node.integer("kind", 0, _LAST_COMPARISON)]
    shape = node.y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        p, q = (band(x, shape, begin, end) for x in inputs)
        band(output, shape, begin, end)[:] = function(p, q)

    return run


def select(node: Node) -> Run:
    """condition, a, b -> y"""
    node.present(0, "condition", "bool")
    node.present(1, "a", node.y.dtype)
    node.present(2, "b", node.y.dtype)
    node.dtype(node.y, "y", *ANY)
    node.broadcast("condition", "a", "b")
    node.unused()
    shape = node.y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        condition, a, b = (band(x, shape, begin, end) for x in inputs)
        band(output, shape, begin, end)[:] = np.where(condition, a, b)

    return run


def cast(node: Node) -> Run:
    """x -> y"""
    x = node.same(0, "x", *ANY)
    node.dtype(node.y, "y", *(dtype for dtype in ANY if dtype != x.dtype))
    node.unused()
    target = np.dtype(node.y.dtype)
    per_row = row_elements(x.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        part = slice(begin * per_row, end * per_row)
        output.reshape(-1)[part] = _converted(inputs[0].reshape(-1)[part], target)

    return run


def _converted(x: Array, target: np.dtype[Any]) -> Array:
    if target == np.bool_:
        return np.asarray(x != 0)
    if x.dtype != np.float32 or target == np.float32:
        return x.astype(target)
    limits = np.iinfo(target)
    # float64 holds the limits of all but int64, and of that one 2^63, where truncation would fail.
    whole = np.trunc(np.where(np.isnan(x), np.float32(0), x)).astype(np.float64)
    inside = (whole >= limits.min) & (whole < float(limits.max) + (target.itemsize < 8))
    found = np.where(inside, whole, 0).astype(target)
    return np.where(inside, found, np.where(whole < 0, limits.min, limits.max).astype(target))


@kernel
def _accumulate(x: Any, y: Any, size: Any, exclusive: Any, reverse: Any) -> None:
    """Vectors of so many elements, one after another; x may be y."""
    for first in range(0, x.size, size):
        total = x.dtype.type(0)
        for i in range(size):
            at = first + (size - 1 - i if reverse else i)
            value = x[at]
            if exclusive:
                y[at] = total
                total = x.dtype.type(total + value)
            else:
                total = x.dtype.type(total + value)
                y[at] = total


def cumsum(node: Node) -> Run:
    """x -> y"""
    x = node.same(0, "x", *(dtype for dtype in ANY if dtype != "bool"))
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", x.dtype)
    exclusive, reverse = node.flag("exclusive"), node.flag("reverse")
    size, per_row = x.shape[-1], row_elements(x.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        part = slice(begin * per_row, end * per_row)
        values = inputs[0].reshape(-1)[part]
        if values.dtype == np.float32:
            found = np.empty_like(values)
            _accumulate(values, found, size, exclusive, reverse)
            output.reshape(-1)[part] = np.where(np.isnan(found), np.float32(np.nan), found)
        else:
            values = values.astype(np.int64)
            _accumulate(values, values, size, exclusive, reverse)
            _put(output.reshape(-1)[part], values)

    return run
