"""The oracle's fused multiply-add against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.float_products import bounded, fma, matmul

FINITE = st.integers(0, 2**32 - 1).filter(lambda bits: bits >> 23 & 0xFF != 0xFF)


def real(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


def nearest(value: Fraction) -> np.float32:
    """The float32 nearest to a number, ties to even, found without arithmetic in floats."""
    sign, value = (-1, -value) if value < 0 else (1, value)
    exponent = -149
    while value / Fraction(2) ** exponent >= 2**24:
        exponent += 1
    scaled = value / Fraction(2) ** exponent
    mantissa = scaled.numerator // scaled.denominator
    rest = scaled - mantissa
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and mantissa % 2):
        mantissa += 1
    if mantissa * Fraction(2) ** exponent >= Fraction(2) ** 128:
        return np.float32(sign * np.inf)
    return np.float32(sign * np.ldexp(float(mantissa), exponent))


@given(FINITE, FINITE, FINITE, st.booleans())
def test_fma_rounds_once(a: int, b: int, c: int, near: bool) -> None:
    x, w, addend = real(a), real(b), real(c)
    if near:  # an addend that cancels most of the product, or lies half a step from it
        with np.errstate(all="ignore"):
            addend = np.nextafter(-(x * w), np.float32(0)) if c % 2 else np.float32(-(x * w))
        if not np.isfinite(addend):
            return
    exact = Fraction(float(x)) * Fraction(float(w)) + Fraction(float(addend))
    result = fma(np.array(x), np.array(w), np.array(addend))
    if exact:
        assert result == nearest(exact)
    else:
        assert result == 0


@pytest.mark.parametrize(
    ("a", "b", "c", "expected"),
    [
        (np.inf, 0, 1, np.nan),
        (np.inf, 1, -np.inf, np.nan),
        (np.inf, -1, 5, -np.inf),
        (np.nan, 0, 0, np.nan),
        (3e38, 2, -3e38, 3e38),
        (1e-30, -1e-30, 0, -0.0),
        (0, -1, -0.0, -0.0),
        (0, 1, -0.0, 0.0),
    ],
)
def test_fma_of_extremes(a: float, b: float, c: float, expected: float) -> None:
    result = fma(*(np.float32(v) for v in (a, b, c)))
    np.testing.assert_array_equal(result, np.float32(expected))
    assert np.isnan(expected) or np.signbit(result) == np.signbit(expected)


def test_bounds_keep_nans_and_signs_of_zeros() -> None:
    values = np.array([-np.inf, -1, -0.0, 0.0, 1, np.inf, -np.nan], np.float32)
    expected = np.array([0, 0, -0.0, 0.0, 0.5, 0.5, np.nan], np.float32)
    result = bounded(values, 0, 0.5)
    np.testing.assert_array_equal(result.view(np.int32)[:-1], expected.view(np.int32)[:-1])
    assert result.view(np.uint32)[-1] == 0x7FC00000


def test_sums_are_chains() -> None:
    x = np.array([[2**25, 1, 1, -(2**25)]], np.float32)
    w = np.ones((4, 1), np.float32)
    assert matmul(x, w, np.zeros(1, np.float32)) == 0
    assert matmul(x, w, np.full(1, 4, np.float32)) == 4
