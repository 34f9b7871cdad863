"""Ranges that leave out the same small share of values at either end.

What lies beyond saturates. A share of 10^-5 (percentile 99.999) cuts single outliers off and leaves
distributions without tails as they are.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.quantize.observe import Histogram
from edgeinfer.convert.quantize.ranges import Range

PERCENTILE = 99.999


def percentile_range(histogram: Histogram, percentile: float = PERCENTILE) -> Range:
    """The range between the percentiles 100 - `percentile` and `percentile`.

    Within a bin values count as spread evenly, so both ends are exact to a bin's width.
    """
    total = float(histogram.counts.sum())
    share = (100.0 - percentile) / 100.0
    below = np.concatenate([[0.0], np.cumsum(histogram.counts, dtype=np.float64)])
    edges = histogram.edges
    low = _crossing(edges, below, share * total)
    high = -_crossing(-edges[::-1], total - below[::-1], share * total)
    return Range.of(min(low, high), max(low, high))


def _crossing(edges: np.ndarray, below: np.ndarray, wanted: float) -> float:
    """Where the number of values below reaches `wanted`, linear within a bin."""
    last = int(np.searchsorted(below, wanted, side="right")) - 1  # the last edge with no more
    if last >= edges.size - 1:
        return float(edges[-1])
    part = (wanted - below[last]) / (below[last + 1] - below[last])
    return float(edges[last] + part * (edges[last + 1] - edges[last]))
