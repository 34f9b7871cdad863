"""The meter of who knows a device's power from elsewhere: a number of watts, all the time."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgeinfer.power.faults import Fault
from edgeinfer.power.reading import Origin, Reading, Scope, Source


class ConstantMeter:
    """Counts the same power for as long as time passes, whatever runs.

    Parameters
    ----------
    watts : float
    clock : callable
        Seconds, ever rising.
    """

    source: Source = "constant"
    origin: Origin = "constant"
    scope: Scope = "board"
    interval = 0.1
    longest_interval = float("inf")

    def __init__(self, watts: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"{watts:g}W"
        self.covers = f"whatever the {watts:g} W include that were given; they do not follow load"
        self._watts = watts
        self._clock = clock
        self._start = self._last = clock()

    def now(self) -> float:
        """The clock that readings carry."""
        return self._clock()

    def read(self) -> Reading:
        """The power times the time since the meter was made."""
        now = self._clock()
        went_back = now < self._last
        self._last = max(now, self._last)
        return Reading(
            time=now,
            joules=self._watts * (self._last - self._start),
            watts=None if went_back else self._watts,
            source=self.source,
            origin=self.origin,
            covers=self.covers,
            resolution=None,
            unit="W",
            fault=Fault.CLOCK if went_back else None,
            detail="the clock went back" if went_back else "",
        )

    def close(self) -> None:
        """Nothing is held."""
