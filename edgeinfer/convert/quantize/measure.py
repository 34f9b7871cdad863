"""How near the tensors of one model are to those of another, streamed over samples.

Sums are kept in float64 and nothing else is, so memory does not depend on the number of samples.

- SQNR, in decibels: 10 log10(sum of x^2 / sum of (x - y)^2), where x is the reference and y what is
  judged. Infinite where they are equal; minus infinity where x is zero throughout and y is not, or
  where one is finite and the other is not.
- Cosine: sum of x y / sqrt(sum of x^2 * sum of y^2). 1 where both are zero throughout.
- Saturation: the share of values of x that lie more than one step outside of what the integers of y
  span. (The 1 of a softmax lies one step above 255 / 256, which is no loss.)

Values that are NaN on both sides, or the same infinity, are equal and enter no sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Quantization
from edgeinfer.convert.quantize.run_graph import Array

Reals = npt.NDArray[np.float64]


def real_values(array: Array, quantization: Quantization | None) -> Reals:
    """What stored numbers stand for: scale * (q - zero_point), or themselves."""
    values = array.astype(np.float64)
    if quantization is None:
        return values
    if not quantization.is_per_tensor:
        raise ValueError("activations have one scale per tensor")
    return (values - float(quantization.zero_point[0])) * float(quantization.scale[0])


@dataclass(eq=False)
class Agreement:
    """Sums over the samples seen so far."""

    signal: float = 0.0
    noise: float = 0.0
    product: float = 0.0
    energy: float = 0.0
    largest_error: float = 0.0
    count: int = 0
    low: float = math.inf
    high: float = -math.inf

    def include(self, reference: Array, judged: Array) -> None:
        """Take in one sample of a tensor: real numbers of as many elements."""
        x = reference.reshape(-1).astype(np.float64, copy=False)
        y = judged.reshape(-1).astype(np.float64, copy=False)
        if x.size != y.size:
            raise ValueError(f"{x.size} values against {y.size}")
        self.count += x.size
        with np.errstate(invalid="ignore"):
            error = x - y
        noise = float(np.sum(error * error))
        if not math.isfinite(noise):  # rare, so that it is not looked for in every element
            finite = np.isfinite(x) & np.isfinite(y)
            equal = (x == y) | (np.isnan(x) & np.isnan(y))
            if not np.all(equal | finite):
                self.noise = self.largest_error = math.inf
            x, y, error = x[finite], y[finite], error[finite]
            noise = float(np.sum(error * error))
        if not x.size:
            return
        self.signal += float(np.sum(x * x))
        self.noise += noise
        self.product += float(np.sum(x * y))
        self.energy += float(np.sum(y * y))
        self.largest_error = max(self.largest_error, float(error.max()), -float(error.min()))
        self.low = min(self.low, float(x.min()))
        self.high = max(self.high, float(x.max()))

    @property
    def sqnr(self) -> float:
        """In decibels."""
        if self.noise == 0:
            return math.inf
        if self.signal == 0 or math.isinf(self.noise):
            return -math.inf
        return 10 * math.log10(self.signal / self.noise)

    @property
    def noise_share(self) -> float:
        """The energy of the difference as a share of the reference's."""
        if self.noise == 0:
            return 0.0
        return self.noise / self.signal if self.signal else math.inf

    @property
    def cosine(self) -> float:
        """From -1 to 1."""
        if math.isinf(self.noise):
            return math.nan
        if self.signal == 0 or self.energy == 0:
            return 1.0 if self.signal == self.energy else 0.0
        found = self.product / math.sqrt(self.signal) / math.sqrt(self.energy)
        return min(max(found, -1.0), 1.0)


@dataclass(eq=False)
class Saturation:
    """How many values of a tensor an integer range cuts off."""

    quantization: Quantization
    dtype: str
    beyond: int = 0
    count: int = 0

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest real number that the integers stand for."""
        info = np.iinfo(self.dtype)
        low, high = real_values(np.array([info.min, info.max]), self.quantization)
        return float(low), float(high)

    def include(self, reference: Array) -> None:
        """Take in one sample of the reference tensor."""
        low, high = self.bounds
        step = float(self.quantization.scale[0])
        self.beyond += int(np.count_nonzero((reference < low - step) | (reference > high + step)))
        self.count += reference.size

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.beyond / self.count if self.count else 0.0


@dataclass(eq=False)
class TopOne:
    """How often the largest entry along the last axis is the same one."""

    same: int = 0
    count: int = 0

    def include(self, reference: Array, judged: Array) -> None:
        """Take in one sample of an output."""
        same = reference.argmax(axis=-1) == judged.argmax(axis=-1)
        self.same += int(np.count_nonzero(same))
        self.count += int(same.size)

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.same / self.count if self.count else 1.0


def looks_like_classes(shape: Sequence[int], inputs: Sequence[Sequence[int]]) -> bool:
    """Whether an output may hold one score per class: one row of numbers.

    One of as many numbers as an input has is a reconstruction of it.
    """
    count = math.prod(shape)
    one_row = len(shape) >= 1 and shape[-1] > 1 and count == shape[-1]
    return one_row and count not in {math.prod(other) for other in inputs}
