"""Ranges of all activations by one of the methods; for "auto", by several.

Inputs are at hand, so the method's range is held against min-max on the samples themselves, and the
one that stores them more exactly is taken. Pixels of 0 to 255 over 255 have exact integers by
min-max, and histograms cannot see that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.lower.quantized import dequantized, quantized
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.observe import Extremes, Histogram, Progress, observe_histograms
from edgeinfer.convert.quantize.range_entropy import entropy_range
from edgeinfer.convert.quantize.range_minmax import minmax_range
from edgeinfer.convert.quantize.range_mse import mse_range
from edgeinfer.convert.quantize.range_percentile import percentile_range
from edgeinfer.convert.quantize.ranges import Range, Ranges, int8_quantization
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
        for tensor in teacher.graph.inputs:
            if tensor.name in found:
                whole, own = minmax_range(extremes[tensor.name]), found[tensor.name]
                errors = [stored_error(samples, tensor.name, span) for span in (whole, own)]
                found[tensor.name] = whole if errors[0] <= errors[1] else own
        chosen.append(Ranges(found, method))
    return chosen


def stored_error(samples: Sequence[Sample], name: str, span: Range) -> float:
    """The sum of squared differences between an input's values and their int8 forms."""
    tensor = Tensor(name, samples[0][name].shape, "int8", int8_quantization(span))
    total = 0.0
    for sample in samples:
        stored = dequantized(tensor, quantized(sample[name], tensor, "onnx"))
        total += float(((stored - sample[name]).astype(np.float64) ** 2).sum())
    return total


def _range(
    method: str, extremes: Extremes, histogram: Histogram | None, options: QuantizationOptions
) -> Range:
    if histogram is None or method == "minmax":
        return minmax_range(extremes)
    if method == "percentile":
        return percentile_range(histogram, options.percentile)
    return entropy_range(histogram) if method == "entropy" else mse_range(histogram)
