"""The device: joules and degrees over time, in virtual time and from a seed.

Power is idle power, leakage that grows with the temperature, and what runs. Between two events it
is constant but for the leakage, which is renewed at least every quarter of a second. The
temperature follows the power through one thermal mass. Above the trip point the kernel lowers the
clock step by step, as its step_wise governor does, and raises it again below.
"""

from __future__ import annotations

import bisect
import math
import random
from dataclasses import dataclass

from tools.power_plant.boards import Board

_STEP = 0.25
_REFERENCE = 40.0
_LEAK_DEGREES = 15.0 / math.log(1.5)
_KERNEL_SECONDS = 1.0  # between two looks of the thermal governor
_RUN_JITTER = 0.02  # standard deviation of a run's time, and of its power


@dataclass(frozen=True)
class Load:
    """What a run asks of the device, by variant: seconds on one thread at the highest clock."""

    seconds: tuple[float, ...]


class Plant:
    """A board that runs one thing at a time.

    Parameters
    ----------
    board : Board
    load : Load
    seed : int
    ambient : float, degrees
    """

    def __init__(self, board: Board, load: Load, seed: int, ambient: float) -> None:
        self.board = board
        self.load = load
        self.ambient = ambient
        self.now = 0.0
        self.celsius = ambient + board.idle_watts * board.kelvin_per_watt
        self.joules = 0.0
        self.times = [0.0]
        self.cumulative = [0.0]
        self.temperatures = [self.celsius]
        self.throttled_seconds = 0.0
        self.trips = 0
        self.limit_khz = board.khz[-1]
        """What scaling_max_freq allows; who writes the tree reads it back from there."""
        self._seed = seed
        self._chances: dict[int, tuple[float, float]] = {}
        self._kernel_step = len(board.khz) - 1
        self._next_look = 0.0
        self._active_watts = 0.0

    @property
    def khz(self) -> int:
        """The clock of a busy core."""
        allowed = bisect.bisect_right(self.board.khz, self.limit_khz) - 1
        return self.board.khz[max(0, min(allowed, self._kernel_step))]

    @property
    def is_throttled(self) -> bool:
        """Whether the kernel holds the clock down."""
        return self._kernel_step < len(self.board.khz) - 1

    def leak_watts(self, celsius: float | None = None) -> float:
        """At a temperature, the present one by default, beyond that at the reference."""
        hot = self.celsius if celsius is None else celsius
        grown = math.exp((hot - _REFERENCE) / _LEAK_DEGREES)
        return self.board.leak_watts * (grown - 1)

    def idle_watts(self) -> float:
        """What the board takes now when nothing runs."""
        return self.board.idle_watts + self.leak_watts()

    def mean_seconds(self, variant: int, threads: int) -> float:
        """Of a run at the present clock."""
        fast: float = threads**self.board.scaling * self.khz / self.board.khz[-1]
        return self.load.seconds[variant] / fast

    def mean_active_watts(self, threads: int) -> float:
        """Beyond idle while a run is under way, at the present clock."""
        board = self.board
        volts = board.volts[board.khz.index(self.khz)]
        scale = self.khz / board.khz[-1] * (volts / board.volts[-1]) ** 2
        busy = board.busy_watts - board.idle_watts
        share = board.uncore_share + (1 - board.uncore_share) * threads / board.cores
        return busy * share * scale

    def draw(self, number: int, variant: int, threads: int) -> tuple[float, float]:
        """Seconds and watts beyond idle of run `number`: the same whoever asks, and when."""
        chance = self._chances.get(number)
        if chance is None:
            dice = random.Random(self._seed * 1_000_003 + number)
            longer, dearer = dice.gauss(0, _RUN_JITTER), dice.gauss(0, _RUN_JITTER)
            chance = self._chances[number] = (math.exp(longer), math.exp(dearer))
        longer, dearer = chance
        seconds = self.mean_seconds(variant, threads) * longer
        return seconds, self.mean_active_watts(threads) * dearer

    def start(self, watts: float) -> None:
        """A run begins that takes so much beyond idle."""
        self._active_watts = watts

    def stop(self) -> None:
        """It ends."""
        self._active_watts = 0.0

    def advance(self, until: float) -> None:
        """Let time go by."""
        while self.now < until:
            step = min(_STEP, until - self.now)
            watts = self.idle_watts() + self._active_watts
            self.joules += watts * step
            target = self.ambient + watts * self.board.kelvin_per_watt
            fade = math.exp(-step / self.board.seconds_to_warm)
            self.celsius = target + (self.celsius - target) * fade
            self.now = until if until - self.now <= _STEP else self.now + step
            self._look()
            if self.is_throttled:
                self.throttled_seconds += step
            self.times.append(self.now)
            self.cumulative.append(self.joules)
            self.temperatures.append(self.celsius)

    def joules_at(self, when: float) -> float:
        """Cumulative joules at a moment of the past; before the beginning it idled."""
        times, cumulative = self.times, self.cumulative
        if when <= 0:
            return self.board.idle_watts * when
        i = min(bisect.bisect_right(times, when), len(times) - 1)
        span = times[i] - times[i - 1]
        share = (when - times[i - 1]) / span if span > 0 else 1.0
        return cumulative[i - 1] + (cumulative[i] - cumulative[i - 1]) * min(share, 1.0)

    def watts_shown(self) -> float:
        """What its sensor sees now: delayed and averaged, without noise."""
        sensor = self.board.sensor
        end = self.now - sensor.delay
        begin = end - max(sensor.average, 1e-3)
        return (self.joules_at(end) - self.joules_at(begin)) / (end - begin)

    def _look(self) -> None:
        """The kernel's thermal governor."""
        if self.now < self._next_look:
            return
        self._next_look = self.now + _KERNEL_SECONDS
        if self.celsius >= self.board.trip_celsius and self._kernel_step > 0:
            self._kernel_step -= 1
            self.trips += 1
        elif self.celsius < self.board.trip_celsius - 2 and self.is_throttled:
            self._kernel_step += 1
