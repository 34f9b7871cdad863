"""Ranges of activations, and the integers that stand for them.

A range is two real numbers, low <= 0 <= high: zero is always representable, since padding and relu
need it exactly. What a range becomes depends on the precision that a tensor is stored at:

- int8, asymmetric: scale = (high - low) / 255, zero_point = rne(-128 - low / scale).
- int16, symmetric: scale = max(-low, high) / 32767, zero point 0.

Ranges are float64 here; the scale is rounded to float32 once, and the zero point follows from the
rounded scale, so that what is stored is what was decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.convert.graph import Quantization

FINEST_SCALE = np.float32(2.0**-60)
"""Of a tensor that is (nearly) zero throughout: products of two such scales stay normal numbers."""


@dataclass(frozen=True)
class Range:
    """The real numbers that a tensor's integers span: low <= 0 <= high, both finite."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= 0 <= self.high):
            raise ValueError(f"[{self.low}, {self.high}] is no range that holds zero")

    @staticmethod
    def of(low: float, high: float) -> Range:
        """The smallest range that holds zero and both numbers."""
        return Range(min(float(low), 0.0), max(float(high), 0.0))

    def joined(self, other: Range) -> Range:
        """The smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low


class Ranges(Mapping[str, Range]):
    """The range of every activation, by the name of the float graph's tensor.

    Attributes
    ----------
    method : how they were chosen: "minmax", "percentile", "entropy", "mse".
    """

    def __init__(self, found: Mapping[str, Range], method: str) -> None:
        self._found = dict(found)
        self.method = method

    def __getitem__(self, name: str) -> Range:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def int8_quantization(span: Range) -> Quantization:
    """Asymmetric int8 of a range."""
    scale = max(np.float32(span.width / 255), FINEST_SCALE)
    zero_point = int(np.rint(-128 - span.low / float(scale)))
    return Quantization.per_tensor(float(scale), min(max(zero_point, -128), 127))


def int16_quantization(span: Range) -> Quantization:
    """Symmetric int16 of a range."""
    scale = max(np.float32(max(-span.low, span.high) / 32767), FINEST_SCALE)
    return Quantization.per_tensor(float(scale), 0)
