"""Which moment of the past a power sensor's value is about.

A sensor shows what was so a while ago, at one moment or as the mean of some time; neither is said
by anybody. So there are hypotheses: delays of up to a quarter of a second, and means over times of
several lengths, up to half a second. Each has a probability, which every sample corrects by how
well it fits what ran then (Bayes' rule). None is settled on: a sample is used under all of them,
each by its weight.

One hypothesis fits anything: that the sample was taken at any moment of the last quarter of a
second. It is believed as long as no other one fits, and then a sample says little, but nothing that
is wrong on average.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_BIN = 0.01  # seconds
_NARROW = 26  # delays
_WIDE = (4, 7, 12, 20, 33, 50)  # bins, of sensors that show a mean
_WIDE_DELAYS = (0, 5, 10, 20)  # bins until the end of such a mean
_ANY = 25  # bins before the reading, in one of which it was taken
_MISFIT = 0.05  # of the variance of chance, for a mean over nearly that time
_LEAST = 1e-4  # probability of a hypothesis, so that it can be believed again
_TELLING = 0.01  # of a likelihood; a smaller difference is no evidence
_FORGET = 0.98  # of the evidence, with each sample

# Bins from, bins to, chance. A narrow one is about a moment near the border of two bins.
_SPANS = (
    [(i, i + 2, 1.0) for i in range(_NARROW)]
    + [(delay, delay + bins, _MISFIT) for delay in _WIDE_DELAYS for bins in _WIDE]
    + [(0, _ANY, 1.0)]
)
_FROM, _TO = (np.array([span[i] for span in _SPANS]) for i in (0, 1))
_CHANCE = np.array([span[2] for span in _SPANS])
_LENGTHS = (_TO - _FROM) * _BIN
_EDGES = -_BIN * np.arange(_TO.max() + 1)

Floats = npt.NDArray[np.float64]


class Moments(NamedTuple):
    """What a sample may be about, by hypothesis."""

    probabilities: Floats
    shares: Floats
    """Of the time that it is about, by hypothesis and way, the share in which each way ran."""
    chance: Floats
    """1 if it is one moment of that time, so that a share is a probability; 0 if it is the mean; of
    the variance that chance gives, the part that counts."""


class SensorTiming:
    """Hypotheses about a sensor, and what is believed of each.

    Parameters
    ----------
    ways : int
        How many ways to run there are.
    """

    def __init__(self, ways: int) -> None:
        self._ways = ways
        others = len(_SPANS) - _NARROW
        self._believed = np.full(len(_SPANS), 0.5 / others)
        self._believed[:_NARROW] = 0.5 / _NARROW

    @property
    def likeliest(self) -> tuple[float, float, float]:
        """Seconds before a reading, from and to, that its value is about, and how sure that is."""
        best = int(np.argmax(self._believed))
        return (
            float(_FROM[best]) * _BIN,
            float(_TO[best]) * _BIN,
            float(self._believed[best]),
        )

    def moments(self, now: float, runs: Iterable[tuple[float, float, int]]) -> Moments:
        """What a sample that is read now may be about.

        Parameters
        ----------
        runs : iterable of (float, float, int)
            Begin, end and way of runs, the newest first.
        """
        horizon = now + _EDGES[-1]
        edges: list[list[float]] = [[] for _ in range(self._ways)]
        for start, end, way in runs:
            if end <= horizon:
                break
            edges[way] += (end, start)
        shares = np.zeros((len(_SPANS), self._ways))
        for way, backwards in enumerate(edges):
            if not backwards:
                continue
            times = np.array(backwards[::-1])
            lengths = np.zeros(len(times))
            lengths[1::2] = times[1::2] - times[::2]
            # Seconds that it has run until each edge of a bin.
            ran = np.interp(now + _EDGES, times, np.cumsum(lengths))
            shares[:, way] = (ran[_FROM] - ran[_TO]) / _LENGTHS
        return Moments(self._believed, np.minimum(shares, 1.0), _CHANCE)

    def learn(self, likelihoods: Floats) -> None:
        """How likely the sample was under each of `moments`."""
        if likelihoods.min() >= (1 - _TELLING) * likelihoods.max():
            return  # any of them explains it, as when nothing ran
        weighed = self._believed**_FORGET * likelihoods
        raised = np.maximum(weighed / weighed.sum(), _LEAST)
        self._believed = raised / raised.sum()
