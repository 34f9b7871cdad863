"""What idling and each way of running take, in watts, learned of readings.

The state is the idle power and, for each way of running, the power beyond idle while it runs. A
reading is a weighted sum of them: the weights are the shares of the time that the reading is about
in which each ran. So every reading corrects the estimates by as much as it is certain and they are
not (a Kalman filter with scalar measurements), and their covariance says what the estimates are
worth: the governor's margin comes of it. They drift, with temperature say: the covariance grows as
time goes by.

An energy counter's reading is about the time since the one before. A power sensor's is about a
short time before it; when runs are shorter than that time, whether one was met is chance, and its
variance f (1 - f) w^2 is counted as noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_CORRELATION = 0.7  # of the guesses of ways to run: a profile that is wrong is so for all alike
_DRIFT = 0.02  # of a value, standard deviation in _DRIFT_SECONDS
_DRIFT_SECONDS = 60.0
_STEP = 1.2  # mean of normalised innovations at which something changed: 3.6 standard deviations
_FORGET = 0.8  # of that mean, with each reading: a standard deviation of 1/3


@dataclass(frozen=True)
class Guess:
    """A value that is not measured yet, and its standard deviation."""

    value: float
    deviation: float


class LearnedPower:
    """Estimates of idle power and of the power of each way to run, all in watts.

    Parameters
    ----------
    idle : Guess
    active : sequence of Guess
        Beyond idle, for each way to run.
    noise : float
        Relative standard deviation of one reading of the sensor, to begin with; learned.
    now : float, seconds
    """

    def __init__(
        self, idle: Guess, active: Sequence[Guess], now: float, *, noise: float = 0.02
    ) -> None:
        self._values = [idle.value, *(guess.value for guess in active)]
        deviations = [idle.deviation, *(guess.deviation for guess in active)]
        count = len(deviations)
        self._covariance = [
            [
                deviations[i] * deviations[j] * (1.0 if i == j else _CORRELATION if i and j else 0)
                for j in range(count)
            ]
            for i in range(count)
        ]
        self._noise = noise
        self._updated = now
        self._surprise = 0.0

    @property
    def idle(self) -> float:
        """Watts when nothing runs."""
        return self._values[0]

    @property
    def noise(self) -> float:
        """Relative standard deviation of one reading."""
        return self._noise

    def active(self, way: int) -> float:
        """Watts beyond idle while this way runs."""
        return self._values[1 + way]

    def deviation(self, shares: Sequence[float]) -> float:
        """Standard deviation of the mean power of a time in which each way ran for its share."""
        weights = (1.0, *shares)
        return math.sqrt(max(0.0, self._variance(weights)))

    def active_deviation(self, way: int) -> float:
        """Standard deviation of what a way takes beyond idle."""
        return math.sqrt(max(0.0, self._covariance[1 + way][1 + way]))

    def learn(
        self, now: float, watts: float, shares: Sequence[float], *, absolute: float, chance: bool
    ) -> None:
        """One reading.

        Parameters
        ----------
        now : float, seconds
        watts : float
            Mean power of the time that the reading is about.
        shares : sequence of float
            Of that time, in which each way ran.
        absolute : float, watts
            Standard deviation that the reading's own resolution gives.
        chance : bool
            Whether the sensor looks at one moment only, so that a share is a probability.
        """
        self._drift(now)
        weights = (1.0, *shares)
        values = self._values
        expected = sum(w * v for w, v in zip(weights, values, strict=True))
        noise = (self._noise * expected) ** 2 + absolute**2
        luck = 0.0
        if chance:
            busy = sum(shares)
            square = sum(s * values[1 + i] ** 2 for i, s in enumerate(shares))
            mean = expected - values[0]
            luck = max(0.0, square - mean**2) if busy > 0 else 0.0
        innovation = watts - expected
        known = self._variance(weights)
        total = known + noise + luck
        if total <= 0:
            return
        self._learn_noise(innovation, known, luck, expected, absolute)
        self._notice_steps(innovation, math.sqrt(total))
        # One reading far off is cut; what lasts is noticed as a step and believed.
        reach = 4 * math.sqrt(total)
        innovation = min(max(innovation, -reach), reach)
        self._correct(weights, innovation, noise + luck)

    def _correct(self, weights: Sequence[float], innovation: float, noise: float) -> None:
        covariance = self._covariance
        active = [(i, w) for i, w in enumerate(weights) if w]
        spread = [sum(row[i] * w for i, w in active) for row in covariance]
        total = sum(spread[i] * w for i, w in active) + noise
        for i, value in enumerate(spread):
            gain = value / total
            self._values[i] += gain * innovation
            row = covariance[i]
            for j, other in enumerate(spread):
                row[j] -= gain * other
        floor = 1e-6
        for i, value in enumerate(self._values):
            self._values[i] = max(value, floor)
            covariance[i][i] = max(covariance[i][i], 1e-12)

    def _drift(self, now: float) -> None:
        passed, self._updated = max(0.0, now - self._updated), max(now, self._updated)
        grown = _DRIFT**2 * min(passed, _DRIFT_SECONDS) / _DRIFT_SECONDS
        for i, value in enumerate(self._values):
            self._covariance[i][i] += grown * value**2

    def _variance(self, weights: Sequence[float]) -> float:
        active = [(i, w) for i, w in enumerate(weights) if w]
        covariance = self._covariance
        return sum(w * v * covariance[i][j] for i, w in active for j, v in active)

    def _learn_noise(
        self, innovation: float, known: float, luck: float, expected: float, absolute: float
    ) -> None:
        """What neither the estimates' own doubt nor chance explains is the sensor's noise."""
        if expected <= 0 or luck > known + (self._noise * expected) ** 2:
            return
        seen = max(0.0, min(innovation**2, 16 * (known + luck + (self._noise * expected) ** 2)))
        left = max(0.0, seen - known - luck - absolute**2) / expected**2
        squared = self._noise**2 + 0.03 * (left - self._noise**2)
        self._noise = min(max(math.sqrt(squared), 5e-4), 0.2)

    def _notice_steps(self, innovation: float, deviation: float) -> None:
        """Another program began or ended: what idling takes is open again."""
        normal = min(max(innovation / deviation, -4.0), 4.0)
        self._surprise = _FORGET * self._surprise + (1 - _FORGET) * normal
        if abs(self._surprise) > _STEP:
            self._covariance[0][0] += innovation**2
            self._surprise = 0.0


class Durations:
    """How long a way's runs take: mean and spread, the recent ones more; and the longest.

    Parameters
    ----------
    guess : float, seconds
    """

    def __init__(self, guess: float) -> None:
        self.mean = guess
        self.count = 0
        self._variance = (0.3 * guess) ** 2
        self._peak = guess

    @property
    def deviation(self) -> float:
        """Standard deviation of one run, seconds."""
        return math.sqrt(self._variance)

    @property
    def longest(self) -> float:
        """What a run is promised to take at most, as far as one can: for deadlines."""
        return max(self._peak, self.mean + 4 * self.deviation)

    def learn(self, seconds: float) -> None:
        """A run took that."""
        self.count += 1
        if self.count == 1:
            self.mean = self._peak = seconds
            self._variance = (0.1 * seconds) ** 2
            return
        weight = max(1.0 / self.count, 0.05)
        difference = seconds - self.mean
        self.mean += weight * difference
        self._variance += weight * (difference**2 - self._variance)
        self._peak = max(seconds, self.mean, self._peak * 0.998)
