"""Ranges of all activations by one of the methods; for "auto", by several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.observe import Extremes, Histogram, Progress, observe_histograms
from edgeinfer.convert.quantize.range_entropy import entropy_range
from edgeinfer.convert.quantize.range_minmax import minmax_range
from edgeinfer.convert.quantize.range_mse import mse_range
from edgeinfer.convert.quantize.range_percentile import percentile_range
from edgeinfer.convert.quantize.ranges import Range, Ranges
from edgeinfer.convert.quantize.run_graph import Sample

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.post_training import QuantizationOptions

AUTOMATIC = ("mse", "minmax", "percentile")
"""Methods that "auto" compares. The first wins when errors are equal."""


def choose_ranges(
    teacher: FloatModel,
    extremes: Mapping[str, Extremes],
    samples: Sequence[Sample],
    options: QuantizationOptions,
    progress: Progress | None = None,
) -> list[Ranges]:
    """One set of ranges per method that is asked for."""
    methods = AUTOMATIC if options.method == "auto" else (options.method,)
    histograms: dict[str, Histogram] = {}
    if methods != ("minmax",):
        runner = teacher.runner(list(extremes))
        histograms = observe_histograms(runner, samples, extremes, progress)
    chosen = []
    for method in methods:
        if progress is not None:
            progress(f"choosing ranges: {method}")
        found = {
            name: _range(method, extremes[name], histograms.get(name), options) for name in extremes
        }
        chosen.append(Ranges(found, method))
    return chosen


def _range(
    method: str, extremes: Extremes, histogram: Histogram | None, options: QuantizationOptions
) -> Range:
    if histogram is None or method == "minmax":
        return minmax_range(extremes)
    if method == "percentile":
        return percentile_range(histogram, options.percentile)
    return entropy_range(histogram) if method == "entropy" else mse_range(histogram)
