"""Cases of the kernel tests: shapes, numbers and contents, all drawn from one seed.

Composed hypothesis strategies vary one thing at a time and rarely meet the combinations in which
such code goes wrong (six axes, a ring, a band in the middle and a clamp); independent choices do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

Shape = tuple[int, ...]

LIMITS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
ALL_DTYPES = [*LIMITS, "float32", "bool"]

seeds = st.integers(0, 2**32 - 1)
often = settings(max_examples=3 * settings().max_examples)


class Draw:
    """Independent choices from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """low <= the result <= high"""
        return int(self.rng.integers(low, high, endpoint=True))

    def uniform(self, low: float, high: float) -> float:
        """A real number of the range."""
        return float(self.rng.uniform(low, high))

    def flag(self, odds: float = 0.5) -> bool:
        """True so often."""
        return bool(self.rng.random() < odds)

    def choice(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def shape(self, low_rank: int, high_rank: int, largest: int = 4) -> Shape:
        """Small dims; one axis in two shapes is longer than the blocks that kernels work in."""
        dims = [self.integer(1, largest) for _ in range(self.integer(low_rank, high_rank))]
        if dims and self.flag():
            dims[self.choice([-1, self.integer(0, len(dims) - 1)])] = self.choice([33, 65, 130])
            if int(np.prod(dims)) > 40_000:
                dims[0] = dims[len(dims) // 2] = 2
        return tuple(dims)

    def band(self) -> int:
        """Rows that are computed at a time."""
        return self.integer(1, 4)

    def in_bands(self) -> bool:
        """Whether one of many functions that share an operator is run in bands as well.

        Their code is given addresses and a count, in bands as in the parts of a whole tensor that
        threads share. What bands depend on is the operator's, and the same for all functions.
        """
        return self.flag(0.25)

    def zero_point(self, dtype: str) -> int:
        """The ends of the range and zero as often as others."""
        low, high = LIMITS[dtype]
        return self.choice([low, 0, high, self.integer(low, high), self.integer(low, high)])

    def clamp(self, dtype: str) -> tuple[int, int]:
        """All of the range, or a part."""
        low, high = LIMITS[dtype]
        if self.flag():
            return low, high
        ends = sorted((self.integer(low, high), self.integer(low, high)))
        return ends[0], ends[1]

    def floats(self, shape: Shape, scale: float = 1.0, odds: float = 0.1) -> np.ndarray:
        """float32: ordinary numbers, and so often infinite, zero, NaN, tiny or huge ones."""
        x = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        special = np.array(
            [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, -3e38, 1.0, -1.0, 0.5],
            np.float32,
        )
        if self.flag():
            x = np.where(self.rng.random(shape) < odds, self.rng.choice(special, shape), x)
        return np.asarray(x, np.float32)

    def bounds(self) -> tuple[float, float]:
        """Open, those of a relu or a relu6, or others."""
        ends = sorted(float(np.float32(self.uniform(-2, 2))) for _ in range(2))
        return self.choice(
            [(-np.inf, np.inf), (0.0, np.inf), (0.0, 6.0), (ends[0], ends[1]), (-np.inf, ends[0])]
        )

    def values(self, shape: Shape, dtype: str) -> np.ndarray:
        """Contents: any values, or extremes only; floats that are no NaN."""
        if dtype == "bool":
            return self.rng.integers(0, 2, shape).astype(bool)
        if dtype == "float32":
            return self.rng.standard_normal(shape).astype(np.float32)
        low, high = LIMITS[dtype]
        if self.flag(0.2):
            return self.rng.choice(np.array([low, high], dtype), shape)
        return self.rng.integers(low, high, shape, dtype, endpoint=True)
