"""Meters of sensors that count energy, and what counters do: wrap, restart, jump, stand still.

A reading is held against the last one that was good. What a part of `max_watts` cannot have drawn
since then is not counted: the value is kept as a candidate, and becomes the new start when the next
reading goes on from it, or is forgotten when that goes on from the last good one. So a single wild
value costs nothing, a restart costs the time until the reading after it, and neither is ever added.

A wrap is a value below the last one that is explained by the counter's range. A second wrap between
two readings looks like none: where so much time has passed that the range could have been drawn at
`max_watts`, the time is not counted. A poll at least every `longest_interval` rules that out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgeinfer.power.faults import Fault, SensorFault
from edgeinfer.power.reading import Origin, Reading, Scope, Source

_SLACK_SECONDS = 0.05
"""Counters are updated every millisecond to every 20 ms: a reading may lag by so much."""


class CounterTrack:
    """One counter, in joules since the first good reading.

    Parameters
    ----------
    read : callable
        The counter's value in joules; raises SensorFault.
    read_range : callable, optional
        At what value it wraps; raises SensorFault. None where nothing tells.
    max_watts : float
        More than what is counted can draw.
    stuck_after : float, seconds
        Without any change, after which it is taken for stuck.
    """

    def __init__(
        self,
        read: Callable[[], float],
        read_range: Callable[[], float] | None,
        *,
        max_watts: float,
        stuck_after: float,
    ) -> None:
        self._read = read
        self._read_range = read_range
        self._max_watts = max_watts
        self._stuck_after = stuck_after
        self._value: float | None = None
        self._changed_at = 0.0  # when it had this value for the first time
        self._read_at = 0.0  # the last good reading
        self._candidate: tuple[float, float] | None = None  # time, value
        self._is_in_doubt = False  # no wrap may be reckoned until the next good reading
        self.joules = 0.0
        self.lost = 0.0
        """Seconds whose energy will never be known."""
        self.range = self._range_or_none()

    @property
    def longest_interval(self) -> float:
        """Seconds within which it cannot wrap twice, by a factor of two."""
        return math.inf if self.range is None else self.range / self._max_watts / 2

    def update(self, now: float) -> None:
        """Read the counter and add what it counted.

        Raises
        ------
        SensorFault
            Nothing was added.
        """
        value = self._read()
        if value < 0:
            raise SensorFault(Fault.NEGATIVE, f"{value} J")
        if self._value is None:
            self._start(now, value)
            return
        if now < self._read_at:
            raise SensorFault(Fault.CLOCK, f"{self._read_at - now:.6g} s back")
        if self.range is not None and value > self.range:
            self._explain_excess(now, value)
        if value == self._value:
            self._candidate, self._is_in_doubt = None, False
            if now - self._changed_at > self._stuck_after:
                raise SensorFault(Fault.STUCK, f"{value} J for {now - self._changed_at:.0f} s")
            self._read_at = now
            return
        if self.range is not None and self._may_reach(self.range, now - self._changed_at):
            # Even a rising value may hide a wrap. Where it stood still all the while it was read
            # often enough, but then nobody knows what it left out.
            self._lose(now, value)
            raise SensorFault(
                Fault.TOO_LATE, f"{now - self._changed_at:.0f} s since the last value"
            )
        # Where the candidate explains a lower value, that is no wrap; of two explanations the one
        # that adds less is taken.
        restarted = self._gain_on_candidate(now, value)
        is_lower = value < self._value
        gained = None if is_lower and restarted is not None else self._gain(now, value)
        if restarted is not None and (gained is None or restarted < gained):
            assert self._candidate is not None
            self.lost += self._candidate[0] - self._changed_at
            gained = restarted
        if gained is None:
            if self._candidate is None or self._candidate[1] != value:
                self._candidate = now, value
            fault = Fault.COUNTER_RESET if is_lower else Fault.IMPLAUSIBLE
            raise SensorFault(fault, f"from {self._value} J to {value} J")
        self.joules += gained
        self._accept(now, value)

    def unmetered(self, now: float) -> float:
        """Seconds until now whose energy is not in `joules`, those that may still come included."""
        return self.lost + (max(0.0, now - self._read_at) if self._value is not None else 0.0)

    @property
    def has_started(self) -> bool:
        """Whether there was a good reading."""
        return self._value is not None

    def _start(self, now: float, value: float) -> None:
        if self.range is None or value > self.range:
            self.range = self._range_or_none()
        if self.range is not None and value > self.range:
            raise SensorFault(Fault.IMPLAUSIBLE, f"{value} J, beyond its range of {self.range} J")
        self._accept(now, value)

    def _gain(self, now: float, value: float) -> float | None:
        """What was counted since the last good value; None when nothing explains the new one."""
        assert self._value is not None
        passed = now - self._changed_at
        if value >= self._value:
            gained = value - self._value
            return gained if self._may_reach(gained, passed) else None
        if self._is_in_doubt:
            return None
        counter_range = self._range_at_wrap(now, value)
        if self._may_reach(counter_range, passed):  # its range was not known until now
            self._lose(now, value)
            raise SensorFault(Fault.TOO_LATE, f"{passed:.0f} s since the last value")
        gained = value - self._value + counter_range
        return gained if 0 <= gained and self._may_reach(gained, passed) else None

    def _may_reach(self, joules: float, seconds: float) -> bool:
        return joules <= self._max_watts * (seconds + _SLACK_SECONDS)

    def _range_at_wrap(self, now: float, value: float) -> float:
        """The range, read anew: it must be the one that was valid when the counter wrapped."""
        known = self.range
        try:
            if self._read_range is None:
                raise SensorFault(Fault.MISSING, "this sensor does not tell its range")
            found = self._read_range()
        except SensorFault as error:
            self._doubt(now, value)
            raise SensorFault(Fault.RANGE_UNKNOWN, error.detail) from None
        if not found > 0:
            self._doubt(now, value)
            raise SensorFault(Fault.RANGE_UNKNOWN, f"a range of {found} J")
        self.range = found
        if known is not None and found != known:
            self._doubt(now, value)
            raise SensorFault(Fault.RANGE_CHANGED, f"from {known} J to {found} J")
        return found

    def _explain_excess(self, now: float, value: float) -> None:
        """A value beyond the range: either that has changed, or the value is none."""
        known, found = self.range, self._range_or_none()
        if found is not None and found != known and value <= found:
            self.range = found
            self._doubt(now, value)
            raise SensorFault(Fault.RANGE_CHANGED, f"from {known} J to {found} J")
        raise SensorFault(Fault.IMPLAUSIBLE, f"{value} J, beyond its range of {known} J")

    def _gain_on_candidate(self, now: float, value: float) -> float | None:
        """What was counted since the candidate; None where there is none that it goes on from."""
        if self._candidate is None:
            return None
        then, start = self._candidate
        gained = value - start
        # It has to move: a wild value that is shown twice is no start.
        return gained if gained > 0 and self._may_reach(gained, now - then) else None

    def _lose(self, now: float, value: float) -> None:
        """Start anew from here; what was counted since the last good reading is not known."""
        self.lost += now - self._changed_at
        self._accept(now, value)

    def _doubt(self, now: float, value: float) -> None:
        """A wrap at a range that is not known: the next reading tells whether to start from here,
        but what came before is not reckoned as a wrap again.
        """
        self._candidate = now, value
        self._is_in_doubt = True

    def _accept(self, now: float, value: float) -> None:
        """The last good value from now on."""
        self._value, self._changed_at, self._read_at = value, now, now
        self._candidate = None
        self._is_in_doubt = False

    def _range_or_none(self) -> float | None:
        if self._read_range is None:
            return None
        try:
            found = self._read_range()
        except SensorFault:
            return None
        return found if found > 0 else None


class CounterMeter:
    """The sum of some counters. It moves on only when all of them were read."""

    origin: Origin = "measured"

    def __init__(
        self,
        name: str,
        source: Source,
        scope: Scope,
        covers: str,
        tracks: Sequence[CounterTrack],
        *,
        clock: Callable[[], float],
        resolution: float | None,
        interval: float = 0.1,
    ) -> None:
        self.name = name
        self.source = source
        self.scope = scope
        self.covers = covers
        self.interval = interval
        self._tracks = tuple(tracks)
        self._clock = clock
        self._resolution = resolution
        self._joules: float | None = None
        self._last: tuple[float, float] | None = None  # time and joules of the last good reading

    @property
    def longest_interval(self) -> float:
        """Seconds between readings within which no counter can wrap twice."""
        return min(track.longest_interval for track in self._tracks)

    def now(self) -> float:
        """The clock that readings carry."""
        return self._clock()

    def read(self) -> Reading:
        """Read all counters."""
        fault, detail, watts = None, "", None
        now = self._clock()
        for track in self._tracks:
            try:
                track.update(now)
            except SensorFault as error:
                fault, detail = fault or error.fault, detail or error.detail
        if fault is None:
            self._joules = sum(track.joules for track in self._tracks)
            if self._last is not None and now > self._last[0]:
                watts = (self._joules - self._last[1]) / (now - self._last[0])
            self._last = now, self._joules
        return Reading(
            time=now,
            joules=self._joules,
            watts=watts,
            source=self.source,
            origin=self.origin,
            covers=self.covers,
            resolution=self._resolution,
            unit="J",
            fault=fault,
            detail=detail,
            unmetered=max(track.unmetered(now) for track in self._tracks),
        )

    def close(self) -> None:
        """Nothing is held open."""
