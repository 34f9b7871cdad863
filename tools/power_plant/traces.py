"""Who asks for runs, and when: four traces of load, from a seed.

Rates are multiples of what the board can sustain under its cap, so that every board is tried where
the cap matters.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgeinfer.power.work import OnLate

LOADED = 5.0
"""Seconds until the model is loaded: nobody asks for a run before."""

TRACES = ("steady", "bursts", "day-night", "deadlines")


@dataclass(frozen=True)
class Arrival:
    """One run that is asked for."""

    time: float
    deadline: float | None = None
    """Seconds from then; None: whenever there is room."""
    priority: int = 0


@dataclass(frozen=True)
class Trace:
    """Arrivals, and how many may wait before further ones are turned away, as a camera's are."""

    name: str
    arrivals: tuple[Arrival, ...]
    queue: int
    on_late: OnLate = "refuse"


def make_trace(name: str, seconds: float, sustained: float, seed: int) -> Trace:
    """A trace of load, from when the model is loaded.

    Parameters
    ----------
    name : str
        One of TRACES.
    seconds : float
    sustained : float
        Runs per second that the board sustains under its cap.
    seed : int
    """
    trace = _whole_trace(name, seconds, sustained, seed)
    return replace(trace, arrivals=tuple(a for a in trace.arrivals if a.time >= LOADED))


def _whole_trace(name: str, seconds: float, sustained: float, seed: int) -> Trace:
    dice = random.Random(seed * 7919 + sum(map(ord, name)))
    if name == "steady":  # a camera with a little jitter, 1.3 times as fast as the cap allows
        period = 1 / (1.3 * sustained)
        count = int(seconds / period)
        times = sorted((i + dice.uniform(0, 0.3)) * period for i in range(count))
        return Trace(name, tuple(map(Arrival, times)), 8)
    if name == "bursts":  # somebody comes by: 8 times for 4 s, every 40 s
        offset = dice.uniform(0, 40)

        def bursts(when: float) -> float:
            return (8.0 if (when + offset) % 40 < 4 else 0.85) * sustained

        times = _poisson(dice, seconds, bursts, 8.0 * sustained)
        return Trace(name, tuple(map(Arrival, times)), 8)
    if name == "day-night":  # a day in `seconds`
        phase = dice.uniform(0, 2 * math.pi)

        def day(when: float) -> float:
            return (0.9 - 0.85 * math.cos(2 * math.pi * when / seconds + phase)) * sustained

        times = _poisson(dice, seconds, day, 1.75 * sustained)
        return Trace(name, tuple(map(Arrival, times)), 32)
    if name == "deadlines":  # 1.2 times, of which two thirds have to be done in time
        times = _poisson(dice, seconds, lambda _: 1.2 * sustained, 1.2 * sustained)
        arrivals = []
        for time in times:
            priority = dice.choice((0, 0, 1, 2))
            wanted = dice.uniform(4, 40) / sustained if dice.random() < 2 / 3 else None
            arrivals.append(Arrival(time, wanted, priority))
        return Trace(name, tuple(arrivals), 16)
    raise ValueError(f"no trace is called {name!r}; there are {', '.join(TRACES)}")


def with_deadlines(trace: Trace, seconds: float, on_late: OnLate) -> Trace:
    """The same arrivals, each of which has to be done within so many seconds."""
    arrivals = tuple(replace(arrival, deadline=seconds) for arrival in trace.arrivals)
    return replace(trace, arrivals=arrivals, on_late=on_late)


def _poisson(
    dice: random.Random, seconds: float, rate: Callable[[float], float], highest: float
) -> list[float]:
    """Random arrivals of a rate that changes with time."""
    times = []
    now = dice.expovariate(highest)
    while now < seconds:
        if dice.random() < rate(now) / highest:
            times.append(now)
        now += dice.expovariate(highest)
    return times
