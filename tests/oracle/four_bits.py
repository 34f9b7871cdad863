"""Products of int8 and weights of four bits: the contract of docs/internals/numerics.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.oracle.float_products import fma


def _e4m3(code: int) -> float:
    exponent, mantissa = code >> 3 & 15, code & 7
    if exponent == 15 and mantissa == 7:
        return float("nan")
    magnitude = (mantissa + 8 * (exponent > 0)) * 2.0 ** (max(exponent, 1) - 10)
    return -magnitude if code & 128 else magnitude


_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int64)
_E8M0 = np.array([*(2.0 ** (code - 127) for code in range(255)), np.nan], np.float32)
_E4M3 = np.array([_e4m3(code) for code in range(256)], np.float32)


@dataclass(frozen=True)
class Blocks:
    """Codes [N, K] and scales [N, ceil(K / block)] of a matrix; scheme "mxfp4" or "nvfp4"."""

    scheme: str
    codes: np.ndarray
    scales: np.ndarray

    @property
    def block(self) -> int:
        return {"mxfp4": 32, "nvfp4": 16}[self.scheme]

    def doubled(self) -> np.ndarray:
        """Twice the elements, exact integers."""
        return _DOUBLED[self.codes]

    def factors(self) -> np.ndarray:
        """Scales as sums take them: those of NVFP4 times 2^-8."""
        if self.scheme == "mxfp4":
            return _E8M0[self.scales]
        return _E4M3[self.scales] * np.float32(2.0**-8)


def sums(x: np.ndarray, w: Blocks, start: np.ndarray) -> np.ndarray:
    """x [..., K] of integers, start [N] -> float32 [..., N]."""
    n, k = w.codes.shape
    total = np.broadcast_to(start.astype(np.float32), (*x.shape[:-1], n))
    doubled, factors = w.doubled(), w.factors()
    for block in range(w.scales.shape[1]):
        part = slice(w.block * block, min(w.block * (block + 1), k))
        exact = x[..., part].astype(np.int64) @ doubled[:, part].T
        total = fma(exact.astype(np.float32), factors[:, block], total)
    return total


def dynamic_int8(
    x: np.ndarray, codes: np.ndarray, multiplier: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """What fully_connected_dynamic stores for int8 weights [N, K], before its bounds."""
    q, scale = quantized_vectors(x)
    total = (q.astype(np.int64) @ codes.T.astype(np.int64)).astype(np.float32)
    with np.errstate(all="ignore"):
        return fma(total, scale * multiplier.astype(np.float32), bias.astype(np.float32))


def quantized_vectors(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 values [..., K] of float32 vectors, and their scales [..., 1]."""
    with np.errstate(all="ignore"):
        largest = np.abs(x).max(axis=-1, keepdims=True)
        infinite = ~np.isfinite(x).all(axis=-1, keepdims=True)
        tiny = largest < np.float32(2.0**-119)
        scale = np.where(infinite, np.float32(np.nan), largest / np.float32(127))
        q = np.rint(x * (np.float32(127) / largest))
    q = np.where(infinite | tiny, 0, q).astype(np.int8)
    return q, np.where(tiny & ~infinite, np.float32(0), scale).astype(np.float32)


def dynamic(x: np.ndarray, w: Blocks, multiplier: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What fully_connected_dynamic stores, before its bounds."""
    q, scale = quantized_vectors(x)
    total = sums(q, w, np.zeros(w.codes.shape[0], np.float32))
    with np.errstate(all="ignore"):
        return fma(total, scale * multiplier.astype(np.float32), bias.astype(np.float32))
