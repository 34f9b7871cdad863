"""What idling and each way of running take, in watts, learned of readings.

The state is the idle power and, for each way of running, the power beyond idle while it runs. A
reading is a weighted sum of them: the weights are the shares of the time that the reading is about
in which each ran. So every reading corrects the estimates by as much as it is certain and they are
not (a Kalman filter with scalar measurements), and their covariance says what the estimates are
worth: the governor's margin comes of it. They drift, with temperature say: the covariance grows as
time goes by.

An energy counter's reading is about the time since the one before. A power sensor's is about some
moment before it, and which one is not sure (sensor_timing.py). So it is used under every
hypothesis, each weighted by its probability and by how well the sample fits it, and the estimates
that would come of each are brought together again in one mean and one covariance (a filter with
probabilistic association). When runs are shorter than the time that a sample may be of, whether one
was met is chance, and its variance f (1 - f) w^2 is counted as noise. A sample may also be astray
and mean nothing of all that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.power.sensor_timing import Floats, Moments

_CORRELATION = 0.7  # of the guesses of ways to run: a profile that is wrong is so for all alike
_DRIFT = 0.02  # of a value, standard deviation in _DRIFT_SECONDS
_DRIFT_SECONDS = 60.0
_STEP = 1.2  # mean of normalised innovations at which something changed: 3.6 standard deviations
_FORGET = 0.8  # of that mean, with each reading: a standard deviation of 1/3
_REACH = 4.0  # standard deviations of what was expected at which an innovation is cut
_ASTRAY = 0.02  # of samples, that mean something else
_SURE = 0.9  # probability of a hypothesis
_NEGLIGIBLE = 1e-3  # probability
_AGREED = 0.01  # of what is expected: hypotheses that say the same


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
        deviations = np.array([idle.deviation, *(guess.deviation for guess in active)])
        correlation = np.full((len(deviations), len(deviations)), _CORRELATION)
        correlation[0, :] = correlation[:, 0] = 0.0
        np.fill_diagonal(correlation, 1.0)
        self._covariance = correlation * np.outer(deviations, deviations)
        self._diagonal = self._covariance.ravel()[:: len(deviations) + 1]  # a view
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
        weights = np.array((1.0, *shares))
        return math.sqrt(max(0.0, float(weights @ self._covariance @ weights)))

    def active_deviation(self, way: int) -> float:
        """Standard deviation of what a way takes beyond idle."""
        return math.sqrt(max(0.0, float(self._covariance[1 + way, 1 + way])))

    def learn(self, now: float, watts: float, shares: Sequence[float], *, absolute: float) -> None:
        """One reading of an energy counter.

        Parameters
        ----------
        now : float, seconds
        watts : float
            Mean power of the time that the reading is about.
        shares : sequence of float
            Of that time, in which each way ran.
        absolute : float, watts
            Standard deviation that the reading's own resolution gives.
        """
        self._drift(now)
        weights = np.array((1.0, *shares))
        expected = float(weights @ self._values)
        innovation = watts - expected
        spread = self._covariance @ weights
        known = max(0.0, float(weights @ spread))
        noise = (self._noise * expected) ** 2 + absolute**2
        deviation = math.sqrt(known + noise)
        if deviation <= 0:
            return
        self._learn_noise(innovation, expected, known, 0.0, absolute)
        # One reading far off is cut; what lasts is noticed as a step and believed.
        reach = _REACH * deviation
        cut = min(max(innovation, -reach), reach)
        if self._is_step(cut / deviation):
            self._covariance[0, 0] += innovation**2
            spread = self._covariance @ weights
            known = float(weights @ spread)
        gains = spread / (known + noise)
        self._covariance -= np.outer(gains, spread)
        self._settle(cut * gains)

    def learn_sample(
        self, now: float, watts: float, moments: Moments, *, absolute: float
    ) -> Floats:
        """One sample of a power sensor. Returns how likely it was under each hypothesis.

        Parameters
        ----------
        moments : Moments
            What it may be about.
        absolute : float, watts
            Standard deviation that the sensor's own resolution gives.
        """
        self._drift(now)
        fits = self._fits(watts, moments.shares, moments.chance, absolute)
        # Astray: as likely anywhere up to twice the highest that is expected.
        astray = _ASTRAY / (2 * max(watts, self._values[0] + max(self._values[1:])))
        likelihoods = astray + (1 - _ASTRAY) * fits.likelihoods()
        weights = moments.probabilities * likelihoods
        evidence = float(weights.sum())
        weights /= evidence
        best = int(np.argmax(weights))
        apart = np.abs(fits.expected - fits.expected[best])
        if weights[apart <= _AGREED * fits.expected[best]].sum() > _SURE:
            self._learn_noise(
                float(fits.innovation[best]), float(fits.expected[best]), float(fits.known[best]),
                float(fits.luck[best]), absolute,
            )  # fmt: skip
        spread, total, innovation = fits.spread, fits.total, fits.innovation
        if astray > _NEGLIGIBLE * evidence:
            # As much noise as puts what is likeliest within reach.
            reach = (innovation[best] / _REACH) ** 2
            weights = np.append(weights * (1 - astray / likelihoods), astray / evidence)
            spread = np.vstack((spread, spread[best]))
            total = np.append(total, max(total[best], reach))
            innovation = np.append(innovation, innovation[best])
        self._correct(weights, spread, total, innovation)
        normal = float(fits.innovation[best]) / math.sqrt(fits.total[best])
        if self._is_step(min(max(normal, -_REACH), _REACH)):
            opened = fits.weights[best] * fits.innovation[best]
            self._diagonal += opened**2
        return likelihoods

    def _fits(self, watts: float, shares: Floats, chance: Floats, absolute: float) -> _Fits:
        """What was expected under each hypothesis, and how far off the reading is."""
        values = np.array(self._values)
        weights = np.ones((len(shares), len(values)))
        weights[:, 1:] = shares
        runs = shares @ values[1:]
        expected = values[0] + runs
        luck = chance * np.maximum(shares @ values[1:] ** 2 - runs**2, 0.0)
        spread = weights @ self._covariance
        known = np.maximum((spread * weights).sum(axis=1), 0.0)
        noise = (self._noise * expected) ** 2 + absolute**2
        return _Fits(weights, expected, watts - expected, spread, known, luck, known + luck + noise)

    def _correct(self, weights: Floats, spread: Floats, total: Floats, innovation: Floats) -> None:
        """The estimates, and their doubt, become the mean of what comes of each hypothesis."""
        gains = spread / total[:, None]
        moves = gains * innovation[:, None]
        weighted = weights[:, None] * moves
        mean = weighted.sum(axis=0)
        # Where hypotheses disagree, doubt is left.
        disagreement = weighted.T @ moves - np.outer(mean, mean)
        self._covariance += disagreement - (weights[:, None] * gains).T @ spread
        self._settle(mean)

    def _settle(self, move: Floats) -> None:
        """The estimates move so far; neither they nor their doubt can vanish."""
        np.maximum(self._diagonal, 1e-12, out=self._diagonal)
        self._values = [max(v + m, 1e-6) for v, m in zip(self._values, move.tolist(), strict=True)]

    def _drift(self, now: float) -> None:
        passed, self._updated = max(0.0, now - self._updated), max(now, self._updated)
        grown = _DRIFT**2 * min(passed, _DRIFT_SECONDS) / _DRIFT_SECONDS
        self._diagonal += grown * np.array(self._values) ** 2

    def _learn_noise(
        self, innovation: float, expected: float, known: float, luck: float, absolute: float
    ) -> None:
        """What neither the estimates' own doubt nor chance explains is the sensor's noise."""
        usual = (self._noise * expected) ** 2
        if expected <= 0 or luck > known + usual:
            return
        seen = min(innovation**2, 16 * (known + luck + usual))
        left = max(0.0, seen - known - luck - absolute**2) / expected**2
        squared = self._noise**2 + 0.03 * (left - self._noise**2)
        self._noise = min(max(math.sqrt(squared), 5e-4), 0.2)

    def _is_step(self, normal: float) -> bool:
        """Whether readings, in standard deviations, have been off to one side for a while."""
        self._surprise = _FORGET * self._surprise + (1 - _FORGET) * normal
        if abs(self._surprise) <= _STEP:
            return False
        self._surprise = 0.0
        return True


@dataclass(frozen=True)
class _Fits:
    """A reading under each hypothesis."""

    weights: Floats
    """Of the estimates, whose weighted sum was expected; by hypothesis and estimate."""
    expected: Floats
    innovation: Floats
    """Watts that were read above that."""
    spread: Floats
    """Covariance of what was expected with each estimate."""
    known: Floats
    """Variances: of what was expected, of chance, and these and the sensor's together."""
    luck: Floats
    total: Floats

    def likelihoods(self) -> Floats:
        """Density of the reading under each hypothesis, per watt."""
        total = np.maximum(self.total, 1e-12)
        density: Floats = np.exp(-0.5 * self.innovation**2 / total) / np.sqrt(2 * np.pi * total)
        return density


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
