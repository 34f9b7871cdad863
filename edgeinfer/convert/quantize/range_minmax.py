"""Ranges from the least and greatest value that calibration saw.

Nothing saturates on the calibration samples; one outlier makes every step coarser.
"""

from __future__ import annotations

from edgeinfer.convert.quantize.observe import Extremes
from edgeinfer.convert.quantize.ranges import Range


def minmax_range(extremes: Extremes) -> Range:
    """All of what was seen."""
    return Range.of(*extremes.span)
