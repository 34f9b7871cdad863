"""Ranges that lose the least information: the smallest Kullback-Leibler divergence.

For each candidate range the distribution P of the values, with what lies beyond counted in the bins
at its ends, is compared with Q: the values inside, put into 256 levels of equal width and spread
again over the non-empty bins of each. KL(P || Q) grows with what saturates, and with what a level
lumps together (S. Migacz, "8-bit inference with TensorRT", GPU Technology Conference 2017; here for
asymmetric ranges: a threshold cuts off what is farther from zero on either side).

The bin that holds zero does not count. Behind a relu half of all values are zero; every range
stores them exactly, while spreading them over a level would make coarse steps look worse than they
are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.observe import Histogram
from edgeinfer.convert.quantize.ranges import Range

LEVELS = 256
CANDIDATES = 128
"""Thresholds that are tried, in equal steps up to the value farthest from zero."""
_EMPTY = 1e-4
"""What Q counts where a level is empty and P is not, as a share of one value."""

Reals = npt.NDArray[np.float64]


def entropy_range(histogram: Histogram) -> Range:
    """The range of least divergence; the widest one of equals."""
    counts, bins = histogram.counts.astype(np.float64), histogram.counts.size
    width = (histogram.high - histogram.low) / bins
    if width <= 0:
        return Range.of(histogram.low, histogram.high)
    # The bin that zero is in, or the end nearest to it.
    zero = float(np.clip(-histogram.low / width, 0, bins))
    counts[min(int(zero), bins - 1)] = 0
    if not counts.any():
        return Range.of(histogram.low, histogram.high)
    best: tuple[float, int, int] | None = None
    farthest = max(zero, bins - zero)
    for share in np.arange(CANDIDATES, 0, -1) / CANDIDATES:
        reach = farthest * share
        first = max(int(np.floor(zero - reach)), 0)
        last = min(int(np.ceil(zero + reach)), bins)
        if last - first < LEVELS and best is not None:
            break
        found = divergence(counts, first, last)
        if best is None or found < best[0]:
            best = found, first, last
    assert best is not None
    edges = histogram.edges
    return Range.of(float(edges[best[1]]), float(edges[best[2]]))


def divergence(counts: Reals, first: int, last: int) -> float:
    """KL(P || Q) of keeping bins [first, last)."""
    inside = counts[first:last]
    p = inside.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    if not inside.any():
        return np.inf
    levels = np.minimum((np.arange(inside.size) * LEVELS) // inside.size, LEVELS - 1)
    occupied = p > 0
    sums = np.bincount(levels, weights=inside, minlength=LEVELS)
    shares = np.bincount(levels, weights=occupied.astype(np.float64), minlength=LEVELS)
    q = np.where(occupied, sums[levels] / np.maximum(shares[levels], 1), 0.0)
    q = np.where(occupied & (q == 0), _EMPTY, q)
    p, q = p[occupied] / p.sum(), q[occupied] / q.sum()
    return float((p * np.log(p / q)).sum())
