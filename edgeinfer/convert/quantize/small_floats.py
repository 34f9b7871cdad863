"""Floats of 4 and 8 bits that block formats of weights are made of.

| | sign, exponent, mantissa | values |
|---|---|---|
| E2M1 | 1, 2, 1 | ±{0, 0.5, 1, 1.5, 2, 3, 4, 6}; neither infinities nor NaN |
| E4M3 | 1, 4, 3 | up to ±448, the smallest 2^-9; codes 0x7f and 0xff are NaN; no infinities |
| E8M0 | 0, 8, 0 | 2^-127 to 2^127; code 0xff is NaN; no zero |

Encoding rounds to nearest, ties to the even code, and saturates: what is larger than the largest
value becomes it, infinities too. Source: OCP Microscaling Formats (MX) 1.0, OCP 8-bit Floating
Point 1.0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

E4M3_NAN = 0x7F
E8M0_NAN = 0xFF
E2M1_MAX = 6.0
E4M3_MAX = 448.0


def _e4m3_magnitudes() -> Floats:
    codes = np.arange(E4M3_NAN)
    exponent, mantissa = codes >> 3, codes & 7
    normal = (8 + mantissa) * 2.0 ** (exponent - 10)
    return np.where(exponent == 0, mantissa * 2.0**-9, normal)


_E2M1 = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
_E4M3 = _e4m3_magnitudes()


def _nearest(magnitudes: Floats, table: Floats) -> npt.NDArray[np.intp]:
    """Index of the nearest entry of an ascending table; of two, the even one."""
    middles = (table[1:] + table[:-1]) / 2
    index = np.searchsorted(middles, magnitudes, side="left")
    at_middle = middles[np.minimum(index, middles.size - 1)] == magnitudes
    return np.asarray(index + (at_middle & (index % 2 == 1)))


def encode_e2m1(values: npt.ArrayLike) -> Codes:
    """Codes 0 to 15 of the nearest E2M1 values. NaN, which has none, gives -0 as ml_dtypes does."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        x = np.asarray(values, np.float64)
    missing = np.isnan(x)
    codes = _nearest(np.where(missing, 0.0, np.abs(x)), _E2M1)
    return np.asarray(codes | np.where(np.signbit(x) | missing, 8, 0)).astype(np.uint8)


def decode_e2m1(codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The values of codes 0 to 15."""
    index = np.asarray(codes, np.uint8)
    if index.size and index.max() > 15:
        raise ValueError(f"code {index.max()} is none of E2M1, which has 0 to 15")
    return np.concatenate([_E2M1, -_E2M1]).astype(np.float32)[index]


def encode_e4m3(values: npt.ArrayLike) -> Codes:
    """Codes of the nearest E4M3 values; NaN gives 0x7f, with the sign's bit 0xff."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        x = np.asarray(values, np.float64)
    missing = np.isnan(x)
    codes = _nearest(np.where(missing, 0.0, np.abs(x)), _E4M3)
    codes = np.where(missing, E4M3_NAN, codes)
    return np.asarray(codes | np.where(np.signbit(x), 0x80, 0)).astype(np.uint8)


def decode_e4m3(codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The values of codes 0 to 255."""
    positive = np.append(_E4M3, np.nan)
    return np.concatenate([positive, -positive]).astype(np.float32)[np.asarray(codes, np.uint8)]


def encode_e8m0(
    values: npt.ArrayLike, rounding: Literal["down", "nearest", "up"] = "nearest"
) -> Codes:
    """Codes of powers of two; NaN and what is negative give NaN.

    Parameters
    ----------
    values : array of float64
        0 and what is too small give 2^-127, what is too large 2^127.
    rounding : {"down", "nearest", "up"}
        The power of two below; the nearest, 1.5 times one being nearer to the next; the one above.
        Block scales are rounded down (OCP MX 1.0).
    """
    with np.errstate(invalid="ignore"):  # signalling NaN
        x = np.asarray(values, np.float64)
    missing = np.isnan(x) | (x < 0)
    mantissa, exponent = np.frexp(np.where(missing | (x == 0) | np.isinf(x), 1.0, x))
    up = {"down": mantissa > 1, "nearest": mantissa >= 0.75, "up": mantissa > 0.5}[rounding]
    power = np.clip(exponent - 1 + up, -127, 127)
    power = np.where(x == 0, -127, np.where(np.isinf(x), 127, power))
    return np.where(missing, E8M0_NAN, power + 127).astype(np.uint8)


def decode_e8m0(codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The values of codes 0 to 255. 2^-127 is a subnormal float32."""
    index = np.asarray(codes, np.uint8)
    powers = np.exp2(index.astype(np.float64) - 127)
    return np.where(index == E8M0_NAN, np.nan, powers).astype(np.float32)
