"""Meters of sensors that show power: energy is the area under what was seen.

Between two readings the power is taken as the straight line from one to the other (the trapezoid
rule). Where the time between them is longer than `longest_interval`, that would be a guess, and the
time is left unmetered instead.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.power.faults import Fault, SensorFault
from edgeinfer.power.reading import Origin, Reading, Scope, Source


class GaugeMeter:
    """A meter over one function that shows the power now.

    Parameters
    ----------
    read_watts : callable
        Watts now, and the smallest step in watts where it is known; raises SensorFault.
    max_watts : float
        More than what is measured can draw.
    stuck_after : float, seconds
        With exactly the same value, after which the sensor is taken for stuck.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        scope: Scope,
        covers: str,
        read_watts: Callable[[], tuple[float, float | None]],
        *,
        clock: Callable[[], float],
        max_watts: float,
        stuck_after: float,
        interval: float = 0.1,
        longest_interval: float = 2.0,
        origin: Origin = "measured",
        error: float | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.origin: Origin = origin
        self.scope = scope
        self.covers = covers
        self.interval = interval
        self.longest_interval = longest_interval
        self._read_watts = read_watts
        self._clock = clock
        self._max_watts = max_watts
        self._stuck_after = stuck_after
        self._error = error
        self._resolution: float | None = None
        self._joules: float | None = None
        self._last: tuple[float, float] | None = None  # time and watts of the last good reading
        self._value: float | None = None  # of the last reading that gave one, and since when
        self._since = 0.0
        self._lost = 0.0

    def now(self) -> float:
        """The clock that readings carry."""
        return self._clock()

    def read(self) -> Reading:
        """Read the sensor and add the area since the last good reading."""
        fault, detail, watts = None, "", None
        now = self._clock()
        try:
            found, self._resolution = self._read_watts()
            self._check(now, found)
            self._add(now, found)
            watts = found
        except SensorFault as error:
            fault, detail = error.fault, error.detail
        pending = 0.0 if self._last is None else max(0.0, now - self._last[0])
        return Reading(
            time=now,
            joules=self._joules,
            watts=watts,
            source=self.source,
            origin=self.origin,
            covers=self.covers,
            resolution=self._resolution,
            unit="W",
            error=self._error,
            fault=fault,
            detail=detail,
            unmetered=self._lost + pending,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _check(self, now: float, watts: float) -> None:
        if watts != watts:
            raise SensorFault(Fault.NOT_A_NUMBER, "NaN")
        if watts < 0:
            raise SensorFault(Fault.NEGATIVE, f"{watts:.6g} W")
        if not watts <= self._max_watts:
            raise SensorFault(Fault.IMPLAUSIBLE, f"{watts:.6g} W")
        if watts != self._value:
            self._value, self._since = watts, now
        elif now - self._since > self._stuck_after:
            raise SensorFault(Fault.STUCK, f"{watts:.6g} W for {now - self._since:.0f} s")

    def _add(self, now: float, watts: float) -> None:
        if self._last is None:
            self._joules, self._last = 0.0, (now, watts)
            return
        then, before = self._last
        passed = now - then
        if passed < 0:
            raise SensorFault(Fault.CLOCK, f"{-passed:.6g} s back")
        self._last = now, watts
        if passed > self.longest_interval:
            self._lost += passed
            raise SensorFault(Fault.TOO_LATE, f"{passed:.1f} s since the reading before")
        self._joules = (self._joules or 0.0) + passed * (before + watts) / 2
