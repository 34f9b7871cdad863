"""What activations look like over calibration samples, in bounded memory.

Two passes over the samples. The first finds the least and greatest value of every tensor; the
second counts values in `BINS` bins of equal width between the two. Each pass runs the float teacher
once per sample and keeps nothing of it but the counts, so memory does not depend on the number of
samples. Counts are exact integers: the order of samples does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample
from edgeinfer.errors import InputError

BINS = 2048

Progress = Callable[[str], None]
"""Told what is being done, and how far it has come."""


@dataclass(eq=False)
class Histogram:
    """How often values of one tensor fall into `counts.size` equal parts of [low, high]."""

    low: float
    high: float
    counts: npt.NDArray[np.int64]

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """The counts.size + 1 borders of the bins."""
        return np.linspace(self.low, self.high, self.counts.size + 1)

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The middle of every bin."""
        edges = self.edges
        return (edges[1:] + edges[:-1]) / 2

    def add(self, values: Array) -> None:
        """Count values; those outside count at the borders."""
        bins = self.counts.size
        width = (self.high - self.low) / bins
        if width <= 0:
            self.counts[0] += values.size
            return
        scaled = (values.reshape(-1) - np.float32(self.low)) * np.float32(1 / width)
        index = np.clip(scaled, 0, bins - 1).astype(np.int32)
        self.counts += np.bincount(index, minlength=bins)


@dataclass(eq=False)
class Extremes:
    """The least and greatest value of a tensor, over all and by channel of its last axis."""

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]

    @staticmethod
    def of(values: Array) -> Extremes:
        """Of one array."""
        rows = values.reshape(-1, values.shape[-1] if values.ndim else 1)
        return Extremes(rows.min(axis=0), rows.max(axis=0))

    def include(self, values: Array) -> None:
        """Take in another array of the same tensor."""
        other = Extremes.of(values)
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)

    @property
    def span(self) -> tuple[float, float]:
        """Over all channels."""
        return float(self.low.min()), float(self.high.max())


@dataclass(eq=False)
class Observed:
    """What the first pass found, by tensor name."""

    extremes: dict[str, Extremes]
    means: dict[str, npt.NDArray[np.float64]]


def observe_extremes(
    runner: GraphRunner,
    samples: Sequence[Sample],
    averaged: Collection[str] = (),
    progress: Progress | None = None,
) -> Observed:
    """The extremes of every tensor that the runner hands out, and the means of those `averaged`.

    A mean is over samples only, element by element.

    Raises
    ------
    InputError
        A tensor is not finite: the model overflows or divides by zero on a sample.
    """
    found: dict[str, Extremes] = {}
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for number, sample in enumerate(samples):
        for name, values in runner.run(sample).items():
            if name in averaged:
                sums[name] = sums[name] + values if name in sums else values.astype(np.float64)
            if name in found:
                found[name].include(values)
            else:
                found[name] = Extremes.of(values)
            if not all(np.isfinite(found[name].span)):
                raise InputError(
                    f"tensor {name!r} of the float model is not finite on calibration sample "
                    f"{number}; check the sample, and the model in float32"
                )
        if progress is not None:
            progress(f"observing ranges: sample {number + 1} of {len(samples)}")
    return Observed(found, {name: total / len(samples) for name, total in sums.items()})


def observe_histograms(
    runner: GraphRunner,
    samples: Sequence[Sample],
    extremes: Mapping[str, Extremes],
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """Histograms between the extremes of the first pass."""
    found = {name: Histogram(*extremes[name].span, np.zeros(BINS, np.int64)) for name in extremes}
    for number, sample in enumerate(samples):
        for name, values in runner.run(sample).items():
            found[name].add(values)
        if progress is not None:
            progress(f"observing distributions: sample {number + 1} of {len(samples)}")
    return found
