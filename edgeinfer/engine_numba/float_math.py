"""exp, tanh, erf and their like of float32. Each line is one or two roundings in the order written.

Source: "Functions of float32" in docs/internals/numerics.md, with the coefficients of the format's
functions. A NaN gives a NaN, whose bits whoever stores it makes canonical.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import inline
from edgeinfer.engine_numba.exact import (
    F32,
    absolute,
    bits_of,
    double_from_bits,
    fma,
    from_bits,
)


def _hex(*coefficients: str) -> tuple[np.float32, ...]:
    return tuple(F32(float.fromhex(c)) for c in coefficients)


ZERO, HALF, ONE, TWO = F32(0), F32(0.5), F32(1), F32(2)
_ROUNDER = F32(1.5 * 2**23)
_ROUNDER_BITS = np.int32(0x4B400000)
_LOG2_E, _LN2_HIGH, _LN2_LOW = _hex("0x1.715476p+0", "-0x1.62e4p-1", "-0x1.7f7d1cp-20")
_E0, _E1, _E2, _E3, _E4 = _hex(
    "0x1.6beb2ap-10", "0x1.122dp-7", "0x1.55568p-5", "0x1.5554aap-3", "0x1.fffffep-2"
)
_S0, _S1, _S2, _S3, _S4, _S5 = _hex(
    "-0x1.38ep-11", "0x1.471a58p-8", "-0x1.b691b2p-6", "0x1.ce1c44p-4", "-0x1.8127p-2",
    "0x1.06eba8p-3",
)  # fmt: skip
_T0, _T1, _T2, _T3, _T4, _T5, _T6 = _hex(
    "-0x1.22p-16", "0x1.91cfb2p-12", "-0x1.fd1438p-9", "0x1.8d6342p-6", "-0x1.b55cb8p-4",
    "-0x1.450aap-1", "-0x1.079d0cp-3",
)  # fmt: skip
_SMALL = F32(0.927734375)  # erf is a polynomial below it
_SQRT_HALF, _GELU_3, _GELU_1 = _hex("0x1.6a09e6p-1", "0x1.2444f2p-4", "0x1.988454p+0")
_EXP_LOW, _EXP_HIGH, _EXPM1_LOW = F32(-104), F32(89), F32(-25)
_FAR_BELOW, _GELU_LOW, _MISH_HIGH = F32(-128), F32(-16), F32(20)
_ERF_FLAT, _ERF_TAIL_END, _MINUS_TWO = F32(4), F32(12), F32(-2)
_LOG_SUBNORMAL, _LOG_UP, _LOG_UP_BITS = F32(2.0**-126), F32(2.0**25), F32(25)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    F32(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
_MINUS_HALF, _LOG_LN2_LOW, _LOG_LN2_HIGH = F32(-0.5), F32(-2.12194440e-4), F32(0.693359375)
_INFINITY, _MINUS_INFINITY = F32(np.inf), F32(-np.inf)
_NAN = F32(np.nan)


@inline
def larger(a: Any, b: Any) -> Any:
    """a > b ? a : b"""
    return a if a > b else b


@inline
def smaller(a: Any, b: Any) -> Any:
    """a < b ? a : b"""
    return a if a < b else b


@inline
def maximum(a: Any, b: Any) -> Any:
    """The larger one, or the NaN where there is one."""
    return a if a != a or a > b else b


@inline
def minimum(a: Any, b: Any) -> Any:
    """The smaller one, or the NaN where there is one."""
    return a if a != a or a < b else b


@inline
def with_sign(x: Any, sign: Any) -> Any:
    """x >= 0 with the sign of another number."""
    return from_bits(np.int32(bits_of(x) | (bits_of(sign) & np.int32(-(2**31)))))


@inline
def _power(n: Any, x: Any) -> Any:
    """e^r - 1 where x = n ln 2 + r."""
    r = fma(n, _LN2_HIGH, x)
    r = fma(n, _LN2_LOW, r)
    q = fma(_E0, r, _E1)
    q = fma(q, r, _E2)
    q = fma(q, r, _E3)
    q = fma(q, r, _E4)
    return fma(q, r * r, r)


@inline
def _scaled(v: Any, rounded: Any) -> Any:
    """v * 2^n, rounded once; n lies in the low bits of `rounded`, and float64 holds the product."""
    n = np.int64(bits_of(rounded) - _ROUNDER_BITS)
    n = min(max(n, np.int64(-200)), np.int64(200))  # a NaN's are anything
    return np.float32(np.float64(v) * double_from_bits((n + np.int64(1023)) << np.int64(52)))


@inline
def exp(x: Any) -> Any:
    """e^x"""
    x = smaller(_EXP_HIGH, larger(_EXP_LOW, x))
    rounded = fma(x, _LOG2_E, _ROUNDER)
    return _scaled(_power(rounded - _ROUNDER, x) + ONE, rounded)


@inline
def expm1_below(x: Any) -> Any:
    """e^x - 1 for x <= 0."""
    x = larger(_EXPM1_LOW, x)
    rounded = fma(x, _LOG2_E, _ROUNDER)
    scale = _scaled(ONE, rounded)
    return fma(_power(rounded - _ROUNDER, x), scale, scale - ONE)


@inline
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)"""
    z = exp(-absolute(x))
    return (z if x < ZERO else ONE) / (z + ONE)


@inline
def silu(x: Any) -> Any:
    """x * sigmoid(x)"""
    x = larger(_FAR_BELOW, x)
    return x * sigmoid(x)


@inline
def tanh(x: Any) -> Any:
    """By u = e^(-2 |x|) - 1."""
    u = expm1_below(absolute(x) * _MINUS_TWO)
    return with_sign(absolute(u / (u + TWO)), x)


@inline
def _erf_small(x: Any) -> Any:
    """erf(x) / x - 1 for |x| below _SMALL."""
    s = x * x
    p = fma(_S0, s, _S1)
    p = fma(p, s, _S2)
    p = fma(p, s, _S3)
    p = fma(p, s, _S4)
    return fma(p, s, _S5)


@inline
def _erf_tail(t: Any) -> Any:
    """1 - erf(t) beyond."""
    p = fma(fma(t, _T0, _T1), t * t, fma(t, _T2, _T3))
    p = fma(p, t, _T4)
    p = fma(p, t, _T5)
    p = fma(p, t, _T6)
    return exp(fma(p, t, -t))


@inline
def erf(x: Any) -> Any:
    """The error function."""
    t = smaller(_ERF_FLAT, absolute(x))
    if t < _SMALL:
        return fma(_erf_small(x), x, x)
    return with_sign(ONE - _erf_tail(t), x)


@inline
def gelu(x: Any) -> Any:
    """x * (1 + erf(x / sqrt 2)) / 2"""
    x = larger(_GELU_LOW, x)
    v = x * _SQRT_HALF
    t = smaller(_ERF_TAIL_END, absolute(v))
    if t < _SMALL:
        twice = fma(_erf_small(v), v, v) + ONE
    elif v < ZERO:
        twice = _erf_tail(t)
    else:
        twice = TWO - _erf_tail(t)
    return x * HALF * twice


@inline
def gelu_tanh(x: Any) -> Any:
    """x * (1 + tanh(u)) / 2 = x * sigmoid(2 u)"""
    x = larger(_GELU_LOW, x)
    return x * sigmoid(x * fma(x * x, _GELU_3, _GELU_1))


@inline
def mish(x: Any) -> Any:
    """x * tanh(log(1 + e^x))"""
    x = larger(_FAR_BELOW, x)
    e = exp(smaller(_MISH_HIGH, x))
    n = e * (e + TWO)
    return x * (n / (n + TWO))


@inline
def log(x: Any) -> Any:
    """The natural logarithm."""
    if not x < _INFINITY:
        return x
    if not x > ZERO:
        return _NAN if x < ZERO else _MINUS_INFINITY
    subnormal = x < _LOG_SUBNORMAL
    bits = np.int32(bits_of(x * _LOG_UP if subnormal else x) - _SQRT_HALF_BITS)
    e = np.float32(np.int32(bits >> np.int32(23))) - (_LOG_UP_BITS if subnormal else ZERO)
    r = from_bits(np.int32((bits & np.int32(0x7FFFFF)) + _SQRT_HALF_BITS)) - ONE
    z = r * r
    p = fma(_L0, r, _L1)
    p = fma(p, r, _L2)
    p = fma(p, r, _L3)
    p = fma(p, r, _L4)
    p = fma(p, r, _L5)
    p = fma(p, r, _L6)
    p = fma(p, r, _L7)
    p = fma(p, r, _L8)
    y = fma(e, _LOG_LN2_LOW, p * r * z)
    return fma(e, _LOG_LN2_HIGH, r + fma(z, _MINUS_HALF, y))
