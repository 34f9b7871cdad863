"""The functions that networks use now and then: float32 by way of float64.

Source: "Functions by way of float64" in docs/internals/numerics.md. Plain additions,
multiplications, divisions and square roots of float64, in the order written.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import inline, kernel
from edgeinfer.engine_numba.exact import (
    absolute,
    bits_of_double,
    double_from_bits,
    square_root,
)
from edgeinfer.engine_numba.rounding import bounded

_INFINITY = np.inf
_NAN = np.nan
_PI = math.pi
_HALF_PI = math.pi / 2
_ROUNDER = 1.5 * 2**52
_LOG2_E, _LN2_HIGH, _LN2_LOW, _LN2 = (
    float.fromhex(c)
    for c in (
        "0x1.71547652b82fep+0", "0x1.62e42fee00000p-1", "0x1.a39ef35793c76p-33",
        "0x1.62e42fefa39efp-1",
    )
)  # fmt: skip
_SQRT_HALF_BITS = int(np.float64(float.fromhex("0x1.6a09e667f3bcdp-1")).view(np.int64))
_TWO_OVER_PI, _HALF_PI_1, _HALF_PI_2, _HALF_PI_3 = (
    float.fromhex(c)
    for c in (
        "0x1.45f306dc9c883p-1", "0x1.921fb54400000p+0", "0x1.0b4611a600000p-34",
        "0x1.3198a2e037073p-69",
    )
)  # fmt: skip
_EXP = np.array([*(1 / math.factorial(n) for n in range(11, 1, -1)), 1.0, 1.0])
_LOG = np.array([2 / n for n in range(19, 0, -2)])
_SINE = np.array([(-1) ** (n // 2) / math.factorial(n) for n in range(15, 0, -2)])
_COSINE = np.array([(-1) ** (n // 2) / math.factorial(n) for n in range(16, -1, -2)])
_ARC = np.array([(-1) ** (n // 2) / n for n in range(13, 0, -2)])
_ARC_TANGENTS = np.array(
    [
        float.fromhex(c)
        for c in (
            "0x0p+0", "0x1.fd5ba9aac2f6ep-4", "0x1.f5b75f92c80ddp-3", "0x1.6f61941e4def1p-2",
            "0x1.dac670561bb4fp-2", "0x1.1e00babdefeb4p-1", "0x1.4978fa3269ee1p-1",
            "0x1.700a7c5784634p-1", "0x1.921fb54442d18p-1",
        )
    ]
)  # fmt: skip
# 2 / pi, 32 bits each; the first ones stand before the point.
_TWO_OVER_PI_WORDS = np.array(
    [0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB],
    np.uint64,
)
_LOW_52 = np.int64(2**52 - 1)
_SMALL = 2.0**-14  # below it sin, tan, asin, sinh, asinh and atanh are x


@inline
def _with_sign(x: Any, sign: Any) -> Any:
    return double_from_bits(bits_of_double(x) | (bits_of_double(sign) & np.int64(-(2**63))))


@inline
def _nearest(x: Any) -> Any:
    """The nearest integer, |x| < 2^51."""
    return (x + _ROUNDER) - _ROUNDER


@kernel
def _polynomial(coefficients: Any, x: Any) -> Any:
    """c[0] x^(n - 1) + ... + c[n - 1]"""
    p = coefficients[0]
    for i in range(1, coefficients.size):
        p = p * x + coefficients[i]
    return p


@kernel
def exp_f64(x: Any) -> Any:
    """e^x"""
    if not absolute(x) < 700.0:
        return x if x != x else (_INFINITY if x > 0.0 else 0.0)
    n = _nearest(x * _LOG2_E)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    return _polynomial(_EXP, r) * double_from_bits((np.int64(n) + np.int64(1023)) << np.int64(52))


@kernel
def log_f64(x: Any) -> Any:
    """The natural logarithm of x >= 0, of NaN and of infinity."""
    if not x > 0.0 or x == _INFINITY:
        return -_INFINITY if x == 0.0 else (x if x > 0.0 else _NAN)
    bits = bits_of_double(x) - _SQRT_HALF_BITS
    e = np.float64(bits >> np.int64(52))
    m = double_from_bits((bits & _LOW_52) + _SQRT_HALF_BITS)
    s = (m - 1.0) / (m + 1.0)
    return s * _polynomial(_LOG, s * s) + e * _LN2


@kernel
def _reduce_angle(x: Any) -> Any:
    """(quadrant, r): x = quadrant * pi / 2 + r, |r| <= pi / 4, of a finite float32."""
    if absolute(x) < 2.0**20:
        n = _nearest(x * _TWO_OVER_PI)
        r = ((x - n * _HALF_PI_1) - n * _HALF_PI_2) - n * _HALF_PI_3
        return np.int64(n) & np.int64(3), r
    # Payne and Hanek: the mantissa times those 96 bits of 2 / pi that neither make multiples of 4
    # nor are too small to matter.
    bits = bits_of_double(x)
    exponent = ((bits >> np.int64(52)) & np.int64(2047)) - 1023 - 23
    mantissa = np.uint64(((bits & _LOW_52) | np.int64(2**52)) >> np.int64(29))
    first = exponent + 30
    shift = np.uint64(first % 32)
    low_32 = np.uint64(0xFFFFFFFF)
    carry = np.uint64(0)
    middle = np.uint64(0)
    high = np.uint64(0)
    for i in range(2, -1, -1):
        at = first // 32 + i
        pair = (_TWO_OVER_PI_WORDS[at] << np.uint64(32)) | _TWO_OVER_PI_WORDS[at + 1]
        word = (pair << shift) >> np.uint64(32)
        middle, high = high, word * mantissa + carry
        carry = high >> np.uint64(32)
    turns = (high << np.uint64(32)) | (middle & low_32)  # in units of 2^-62, modulo 4
    fraction = np.float64(np.int64(turns << np.uint64(2))) * 2.0**-64
    whole = np.int64(turns >> np.uint64(62)) + np.int64((turns >> np.uint64(61)) & np.uint64(1))
    if bits < 0:
        return -whole & np.int64(3), -fraction * _HALF_PI
    return whole & np.int64(3), fraction * _HALF_PI


@kernel
def _sine_of(x: Any, shift: Any) -> Any:
    """sin(x + shift * pi / 2)"""
    if x - x != 0.0:
        return _NAN
    quadrant, r = _reduce_angle(x)
    quadrant += shift
    if quadrant & 1:
        y = _polynomial(_COSINE, r * r)
    else:
        y = r * _polynomial(_SINE, r * r)
    return -y if quadrant & 2 else y


@kernel
def _arc_tangent(x: Any) -> Any:
    t = absolute(x)
    within = 1.0 / t if t > 1.0 else t
    k = np.int64(within * 8.0 + 0.5) if within == within else np.int64(0)
    c = np.float64(k) * 0.125
    r = (within - c) / (1.0 + within * c)
    angle = _ARC_TANGENTS[k] + r * _polynomial(_ARC, r * r)
    return _with_sign(_HALF_PI - angle if t > 1.0 else angle, x)


@inline
def _arc_sine(x: Any) -> Any:
    rest = (1.0 - x) * (1.0 + x)
    return _with_sign(_HALF_PI, x) if rest == 0.0 else _arc_tangent(x / square_root(rest))


@inline
def _softplus(x: Any) -> Any:
    e = exp_f64(x)
    if x < -12.0:
        return e - e * e * 0.5
    return x if x > 40.0 else log_f64(1.0 + e)


@kernel
def _apply(kind: Any, x: Any) -> Any:
    t = absolute(x)
    if t < _SMALL and (kind in (65, 67, 68, 71) or kind in (73, 75)):
        return x
    if kind == 65:
        return _sine_of(x, 0)
    if kind == 66:
        return _sine_of(x, 1)
    if kind == 67:
        return _sine_of(x, 0) / _sine_of(x, 1)
    if kind == 68:
        return _arc_sine(x)
    if kind == 69:
        return _HALF_PI - _arc_sine(x)
    if kind == 70:
        return _arc_tangent(x)
    if kind == 71:
        return (exp_f64(x) - exp_f64(-x)) * 0.5
    if kind == 72:
        return (exp_f64(x) + exp_f64(-x)) * 0.5
    if kind == 73:
        return _with_sign(log_f64(t + square_root(x * x + 1.0)), x)
    if kind == 74:
        return _NAN if x < 1.0 else log_f64(x + square_root((x - 1.0) * (x + 1.0)))
    if kind == 75:
        return _with_sign(0.5 * log_f64((1.0 + t) / (1.0 - t)), x)
    return _softplus(x)


@kernel
def unary_f64(x: Any, y: Any, kind: Any, low: Any, high: Any) -> None:
    """Kinds of unary_f32 from 65 on."""
    for i in range(y.size):
        y[i] = bounded(np.float32(_apply(kind, np.float64(x[i]))), low, high)


@inline
def _is_integer(x: Any) -> bool:
    return bool(absolute(x) >= 2.0**52 or np.float64(np.int64(x)) == x)


@inline
def _is_odd(x: Any) -> bool:
    return bool(absolute(x) < 2.0**53 and (np.int64(x) & np.int64(1)) != 0)


@kernel
def _power(a: Any, b: Any) -> Any:
    """IEEE 754's pow."""
    if b == 0.0 or a == 1.0:
        return 1.0
    if a != a or b != b:
        return _NAN
    t = absolute(a)
    if t == 1.0 and absolute(b) == _INFINITY:
        return 1.0
    y = exp_f64(b * log_f64(t))
    if bits_of_double(a) >= 0:
        return y
    if not _is_integer(b):
        return y if t == 0.0 or t == _INFINITY else _NAN
    return -y if _is_odd(b) else y


@kernel
def _remainder(a: Any, b: Any) -> Any:
    """a - trunc(a / b) * b, exactly."""
    rest = absolute(a)
    divisor = absolute(b)
    if rest - rest != 0.0 or divisor == 0.0 or b != b:
        return _NAN
    while rest >= divisor and divisor != _INFINITY:
        # divisor * 2^n, the largest that is not above rest
        steps = (bits_of_double(rest) >> np.int64(52)) - (bits_of_double(divisor) >> np.int64(52))
        part = double_from_bits(bits_of_double(divisor) + (steps << np.int64(52)))
        if part > rest:
            part = double_from_bits(bits_of_double(part) - np.int64(2**52))
        rest -= part
    return _with_sign(rest, a)


@kernel
def _modulo(a: Any, b: Any) -> Any:
    rest = _remainder(a, b)
    if rest == 0.0:
        return _with_sign(0.0, b)
    return rest + b if (rest < 0.0) != (b < 0.0) else rest


@kernel
def _angle(y: Any, x: Any) -> Any:
    if x != x or y != y:
        return _NAN
    up, right = absolute(y), absolute(x)
    angle = 0.0
    if up == right and up == _INFINITY:
        angle = _PI / 4
    elif up != 0.0:
        angle = _arc_tangent(up / right)
    angle = _PI - angle if bits_of_double(x) < 0 else angle
    return _with_sign(angle, y)


@kernel
def binary_f64(a: Any, b: Any, y: Any, kind: Any, low: Any, high: Any) -> None:
    """Kinds of binary_f32 from 7 on."""
    for i in range(y.size):
        p, q = np.float64(a[i]), np.float64(b[i])
        if kind == 7:
            value = _power(p, q)
        elif kind == 8:
            value = _remainder(p, q)
        elif kind == 9:
            value = _modulo(p, q)
        else:
            value = _angle(p, q)
        y[i] = bounded(np.float32(value), low, high)
