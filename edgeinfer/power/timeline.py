"""Joules over time, as a governor keeps them: what went out, and what a plan would add.

A timeline is a line of straight pieces: cumulative joules at breakpoints. Before its first point
and after its last one the device is taken to idle. Metered joules replace estimated ones between
two readings, and shift what came since.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

_STALE = 256  # points that are dropped together


class Timeline:
    """Cumulative joules of the device, as far back as `window` seconds need.

    Parameters
    ----------
    window : float, seconds
    idle_watts : float
        What the device takes when nothing runs: an estimate, which may be set anew at any time.
    now : float, seconds
    """

    def __init__(self, window: float, idle_watts: float, now: float) -> None:
        self.window = window
        self.idle_watts = idle_watts
        self._times = [now]
        self._joules = [0.0]

    @property
    def end(self) -> float:
        """The last moment that is entered."""
        return self._times[-1]

    def at(self, when: float) -> float:
        """Cumulative joules at a moment."""
        times, joules = self._times, self._joules
        if when >= times[-1]:
            return joules[-1] + self.idle_watts * (when - times[-1])
        if when <= times[0]:
            return joules[0] + self.idle_watts * (when - times[0])
        i = bisect_right(times, when)
        t0, t1 = times[i - 1], times[i]
        j0 = joules[i - 1]
        return j0 + (joules[i] - j0) * (when - t0) / (t1 - t0)

    def idle_until(self, now: float) -> None:
        """Enter that the device idled until now."""
        if now > self._times[-1]:
            self._joules.append(self._joules[-1] + self.idle_watts * (now - self._times[-1]))
            self._times.append(now)

    def add_run(self, start: float, end: float, joules: float) -> None:
        """Enter a run that took so much beyond idle. Nothing is entered later than its start."""
        self.idle_until(start)
        seconds = max(end - self._times[-1], 1e-9)
        self._joules.append(self._joules[-1] + self.idle_watts * seconds + max(joules, 0.0))
        self._times.append(self._times[-1] + seconds)
        self._forget(end - 2 * self.window)

    def replace(self, t0: float, t1: float, joules: float) -> None:
        """Between two moments so much was metered; what is entered later keeps its steps."""
        if not t0 < t1 <= self._times[-1]:
            return
        missing = joules - (self.at(t1) - self.at(t0))
        first = self._insert(t0)
        last = self._insert(t1)
        times, cumulative = self._times, self._joules
        for i in range(first + 1, len(times)):
            share = 1.0 if i >= last else (times[i] - t0) / (t1 - t0)
            cumulative[i] += missing * share

    def _insert(self, when: float) -> int:
        i = bisect_left(self._times, when)
        if i < len(self._times) and self._times[i] == when:
            return i
        joules = self.at(when)
        self._times.insert(i, when)
        self._joules.insert(i, joules)
        return i

    def _forget(self, before: float) -> None:
        if len(self._times) > _STALE and self._times[_STALE] < before:
            del self._times[:_STALE], self._joules[:_STALE]


class Forecast:
    """A timeline with runs that may come, after the moment `now`."""

    def __init__(self, timeline: Timeline, now: float) -> None:
        self._timeline = timeline
        self._times = [now]
        self._joules = [timeline.at(now)]
        self._idle = timeline.idle_watts

    @property
    def end(self) -> float:
        """When the last run that was added ends."""
        return self._times[-1]

    def at(self, when: float) -> float:
        """Cumulative joules at a moment."""
        times = self._times
        if when <= times[0]:
            return self._timeline.at(when)
        if when >= times[-1]:
            return self._joules[-1] + self._idle * (when - times[-1])
        i = bisect_right(times, when)
        t0, t1 = times[i - 1], times[i]
        return self._joules[i - 1] + (self._joules[i] - self._joules[i - 1]) * (when - t0) / (
            t1 - t0
        )

    def add_run(self, start: float, seconds: float, joules: float) -> None:
        """A run that starts no earlier than the one before ends, and takes that beyond idle."""
        before = self._joules[-1] + self._idle * (start - self._times[-1])
        if start > self._times[-1]:
            self._times.append(start)
            self._joules.append(before)
        self._times.append(start + max(seconds, 1e-9))
        self._joules.append(before + self._idle * seconds + joules)

    def excess(self, start: float, seconds: float, joules: float, allowed: float) -> float:
        """Joules by which the window that ends with such a run would pass `allowed`."""
        end = start + seconds
        window = self._timeline.window
        return self.at(start) + self._idle * seconds + joules - self.at(end - window) - allowed

    def earliest(self, start: float, seconds: float, joules: float, allowed: float) -> float | None:
        """When a run may start at the earliest so that no window holds more than `allowed`.

        Every window that ends during the run is lighter than the one that ends with it, as long as
        a run takes more than what leaves the window meanwhile; so that one is looked at. None when
        waiting does not help: one run and a window of idling are too much together.
        """
        above = self.excess(start, seconds, joules, allowed)
        if above <= 0:
            return start
        late = max(start, self.end) + self._timeline.window + seconds
        below = self.excess(late, seconds, joules, allowed)
        if below > 1e-9:
            return None
        # False position, with a bisection in between: nearly a straight line in most cases.
        early, near = start, 1e-4 * joules
        for i in range(40):
            share = 0.5 if i % 3 == 2 or above <= below else above / (above - below)
            middle = early + (late - early) * min(max(share, 0.02), 0.98)
            excess = self.excess(middle, seconds, joules, allowed)
            if excess <= 0:
                late, below = middle, excess
            else:
                early, above = middle, excess
            if below >= -near or late - early < 1e-4 * seconds + 1e-6:
                break
        return late
