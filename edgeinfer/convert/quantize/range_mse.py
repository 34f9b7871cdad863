"""Ranges that make the mean squared error of storing the values least.

A narrow range has fine steps and saturates tails, a wide one neither; the error of both together
has a minimum between. Either end is tried at `CANDIDATES` shares of what was seen, one end after
the other until none moves; every candidate is judged by what int8 makes of the histogram's bin
centres, zero point and rounding included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.observe import Histogram
from edgeinfer.convert.quantize.ranges import Range

CANDIDATES = 100
"""Shares of an end's distance from zero, in equal steps: 0.01, 0.02 and so on to 1."""
MAX_ROUNDS = 4

Reals = npt.NDArray[np.float64]


def mse_range(histogram: Histogram) -> Range:
    """The range of least squared error."""
    whole = Range.of(histogram.low, histogram.high)
    kept = histogram.counts > 0
    values, counts = histogram.centres[kept], histogram.counts[kept].astype(np.float64)
    shares = np.arange(1, CANDIDATES + 1) / CANDIDATES
    low, high = whole.low, whole.high
    for _ in range(MAX_ROUNDS):
        before = (low, high)
        if whole.low < 0:
            lows = whole.low * shares
            errors = squared_errors(values, counts, lows, np.full_like(lows, high))
            low = float(lows[_last_least(errors)])
        if whole.high > 0:
            highs = whole.high * shares
            errors = squared_errors(values, counts, np.full_like(highs, low), highs)
            high = float(highs[_last_least(errors)])
        if (low, high) == before:
            break
    return Range.of(low, high)


def squared_errors(values: Reals, counts: Reals, lows: Reals, highs: Reals) -> Reals:
    """For each range, the sum of squared differences between values and their int8 forms."""
    scales = np.maximum((highs - lows) / 255, 2.0**-60)[:, None]
    zero_points = np.rint(-128 - lows[:, None] / scales)
    steps = np.clip(np.rint(values[None] / scales) + zero_points, -128, 127) - zero_points
    return np.asarray((steps * scales - values[None]) ** 2 @ counts)


def _last_least(errors: Reals) -> int:
    """The widest of the best candidates."""
    return int(errors.size - 1 - np.argmin(errors[::-1]))
