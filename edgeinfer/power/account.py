"""What was spent and what things cost: readings and runs brought together.

Runs are entered as they happen, at what their way is thought to take. Readings correct both what is
thought and, where the meter counts energy, what was entered. With a meter that shows power, a
sample says what the board took at one moment: whether that was in a run or between two depends on
the sensor's delay, of which `SensorTiming` keeps hypotheses.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count

from edgeinfer.power.learned_power import Durations, Guess, LearnedPower
from edgeinfer.power.reading import Reading
from edgeinfer.power.sensor_timing import SensorTiming
from edgeinfer.power.timeline import Timeline
from edgeinfer.power.work import Way

_SURE = 2.3  # standard deviations that the margin covers
_LEAST_MARGIN = 0.002  # of a window's joules
_MODEL_MARGIN = 0.01  # the same with a model, which does not follow the temperature
_MOST_OF_SPENDABLE = 0.02  # that either of these takes
_RUN_SPREAD = 0.03  # of a run's joules, standard deviation from run to run
_COUNTER_DELAY = 0.002  # seconds that an energy counter lags behind
_WELL_KNOWN = 0.05  # of a way's watts, standard deviation: what is entered is no dearer below
_KNOWN = 0.025  # of a way's watts, standard deviation: ways can be compared
_UNSURE = 0.004  # of the power, standard deviation: above, the meter is read more often
_MOST_EARLY_READINGS = 400
_SHORTEST = 0.02  # seconds between two readings of a counter that are of use


class PowerAccount:
    """The device's joules over a window, and the cost of every way to run.

    Parameters
    ----------
    ways : sequence of Way
    window : float, seconds
    idle : Guess
        Watts of the device when nothing runs.
    active : sequence of Guess
        Watts beyond idle, of each way.
    seconds : sequence of float
        How long a run of each way is thought to take.
    now : float, seconds
    """

    def __init__(
        self,
        ways: Sequence[Way],
        window: float,
        idle: Guess,
        active: Sequence[Guess],
        seconds: Sequence[float],
        now: float,
    ) -> None:
        self.ways = tuple(ways)
        self.durations = [Durations(guess) for guess in seconds]
        self.learned = LearnedPower(idle, active, now)
        self.timeline = Timeline(window, idle.value, now)
        self._window = window
        self._busy: deque[tuple[float, float, int]] = deque()
        self._busy_seconds = [0.0] * len(ways)
        self._running: tuple[float, int] | None = None
        self._entered = now  # up to where the run that is under way is in the timeline
        self._entered_joules = 0.0
        self._metered: tuple[float, float, float] | None = None
        self._last_reading = now
        self._first_metered = now
        self._counts = False
        self._readings = 0
        self.is_modelled = all(way.joules is not None for way in ways)
        """Whether a model says what runs cost, so that there is nothing to learn of readings."""
        self.timing = SensorTiming(len(ways))

    def joules(self, way: int) -> float:
        """What a run of this way takes beyond idle, on average."""
        fixed = self.ways[way].joules
        if fixed is not None:
            return fixed
        return self._entered_watts(way) * self.durations[way].mean

    def joules_bounds(self, way: int) -> tuple[float, float]:
        """The same, one standard deviation less and more."""
        fixed = self.ways[way].joules
        if fixed is not None:
            return fixed, fixed
        mean, seconds = self.learned.active(way), self.durations[way].mean
        deviation = min(self.learned.active_deviation(way), 0.9 * mean)
        return (mean - deviation) * seconds, (mean + deviation) * seconds

    def is_known(self, way: int) -> bool:
        """Whether what a run of this way takes is known well enough to compare ways by it."""
        if self.ways[way].joules is not None:
            return True
        return self.learned.active_deviation(way) < _KNOWN * self.learned.active(way)

    def begin(self, now: float, way: int) -> None:
        """A run begins."""
        self.timeline.idle_until(now)
        self._running = (now, way)
        self._entered = now
        self._entered_joules = 0.0

    def end(self, now: float) -> float:
        """The run that began last ends. Returns what it is taken to have cost beyond idle."""
        if self._running is None:
            return 0.0
        start, way = self._running
        self._running = None
        seconds = max(0.0, now - start)
        self.durations[way].learn(seconds)
        fixed = self.ways[way].joules
        total = self._entered_watts(way) * seconds if fixed is None else fixed
        self.timeline.add_run(self._entered, now, total - self._entered_joules)
        self._busy.append((start, now, way))
        self._busy_seconds[way] += seconds
        while self._busy and self._busy[0][1] < now - self._window:
            old_start, old_end, old_way = self._busy.popleft()
            self._busy_seconds[old_way] -= old_end - old_start
        return total

    def enter(self, now: float, way: int, seconds: float) -> float:
        """A run of that length ended now, of which nothing was known. Returns its joules."""
        fixed = self.ways[way].joules
        joules = self._entered_watts(way) * seconds if fixed is None else fixed
        self._enter_until(now)
        self.timeline.add_run(now, now, joules)
        if self._running is None:
            self._busy.append((now - seconds, now, way))
            self._busy_seconds[way] += seconds
        return joules

    def rest_of_run(self, now: float) -> tuple[float, float]:
        """Seconds that the run under way may still take, and joules of it that are not entered."""
        if self._running is None:
            return 0.0, 0.0
        start, way = self._running
        longest = self.durations[way].longest
        left = max(start + longest - now, 0.02 * longest)
        return left, max(self.joules(way) - self._entered_joules, 0.0)

    def observe(self, reading: Reading) -> None:
        """A reading of the meter. One with a fault only lets the margin grow."""
        if reading.fault is not None or reading.origin != "measured":
            return
        self._readings += 1
        if reading.unit == "J":
            self._counts = True
            self._observe_counter(reading)
        elif reading.watts is not None:
            self._observe_power(reading.time, reading.watts, reading.resolution or 0.0)
            self._last_reading = reading.time
        self.timeline.idle_watts = self.learned.idle

    def margin(self, now: float, spendable: float) -> float:
        """Joules of a window that may be more than what is entered.

        spendable : joules beyond idle that the window may take
        """
        timeline, window = self.timeline, self._window
        least = _MODEL_MARGIN if self.is_modelled else _LEAST_MARGIN
        least *= timeline.at(now) - timeline.at(now - window)
        least = min(least, _MOST_OF_SPENDABLE * spendable)
        # What an energy counter has seen is exact: only the time since its last reading is not, nor
        # is that before its first one. A model knows the idle power, and runs on average.
        unsure, before = window, 0.0
        if self._counts:
            unsure = min(window, max(0.0, now - self._last_reading))
            before = min(window, max(0.0, self._first_metered - (now - window)))
        deviation = 0.0
        if not self.is_modelled:
            duty = [min(1.0, max(0.0, seconds) / window) for seconds in self._busy_seconds]
            deviation = self.learned.deviation(duty) * unsure
            deviation += self.learned.deviation([0.0] * len(duty)) * before
        runs = sum(
            seconds / max(d.mean, 1e-9) * (_RUN_SPREAD * self.joules(i)) ** 2
            for i, (seconds, d) in enumerate(zip(self._busy_seconds, self.durations, strict=True))
            if seconds > 0
        )
        return least + _SURE * math.sqrt(deviation**2 + runs * unsure / window)

    @property
    def is_unsure(self) -> bool:
        """Whether readings would still better the estimates a good deal."""
        if self.is_modelled or self._readings >= _MOST_EARLY_READINGS:
            return False
        duty = [min(1.0, max(0.0, seconds) / self._window) for seconds in self._busy_seconds]
        deviation = self.learned.deviation(duty)
        return deviation > _UNSURE * (self.learned.idle + sum(map(self._duty_watts, duty, count())))

    def _duty_watts(self, duty: float, way: int) -> float:
        return duty * self.learned.active(way)

    def _observe_counter(self, reading: Reading) -> None:
        if reading.joules is None:
            return
        before, self._metered = (
            self._metered,
            (reading.time, reading.joules, reading.unmetered),
        )
        if before is None:
            self._last_reading = self._first_metered = reading.time
            return
        t0, joules0, unmetered0 = before
        passed = reading.time - t0
        if passed < _SHORTEST:
            self._metered = before
            return
        self._last_reading = reading.time
        if reading.unmetered > unmetered0:  # some of that time is not in the joules
            return
        joules = reading.joules - joules0
        self._enter_until(reading.time)
        shares = self._shares(t0, reading.time)
        edge = _COUNTER_DELAY * max(map(self.learned.active, range(len(self.ways))))
        self.learned.learn(
            reading.time,
            joules / passed,
            shares,
            absolute=(1.5 * (reading.resolution or 0.0) + edge) / passed,
        )
        self.timeline.replace(t0, reading.time, joules)

    def _observe_power(self, now: float, watts: float, resolution: float) -> None:
        moments = self.timing.moments(now, self._runs(now))
        likelihoods = self.learned.learn_sample(now, watts, moments, absolute=resolution / 3)
        self.timing.learn(likelihoods)

    def _runs(self, now: float) -> Iterator[tuple[float, float, int]]:
        """Begin, end and way, the newest first."""
        if self._running is not None:
            yield self._running[0], now, self._running[1]
        yield from reversed(self._busy)

    def _entered_watts(self, way: int) -> float:
        """Beyond idle. What is not known well yet is entered as dear as it may well be."""
        watts = self.learned.active(way)
        doubt = self.learned.active_deviation(way)
        if self._counts or doubt < _WELL_KNOWN * watts:
            return watts
        return watts + 2 * (doubt - _WELL_KNOWN * watts)

    def _enter_until(self, now: float) -> None:
        """The timeline up to now, a run that is under way included."""
        if self._running is None:
            self.timeline.idle_until(now)
            return
        way = self._running[1]
        if now > self._entered:
            joules = self._entered_watts(way) * (now - self._entered)
            self.timeline.add_run(self._entered, now, joules)
            self._entered = now
            self._entered_joules += joules

    def _shares(self, t0: float, t1: float) -> list[float]:
        """Of the time from t0 to t1, the share in which each way ran."""
        shares = [0.0] * len(self.ways)
        length = max(t1 - t0, 1e-9)
        if self._running is not None and self._running[0] < t1:
            shares[self._running[1]] += (t1 - max(t0, self._running[0])) / length
        for start, end, way in reversed(self._busy):
            if end <= t0:
                break
            shares[way] += max(0.0, min(end, t1) - max(start, t0)) / length
        return shares
