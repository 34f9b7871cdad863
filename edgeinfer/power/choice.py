"""Which variant of the model, and in which way: choices with hysteresis."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.power.account import PowerAccount
from edgeinfer.power.work import Way

_BETTER = 1.03  # times the throughput, for another way to be taken
_ENOUGH_RUNS = 8  # of a way before it is judged against others
_LONGEST_TRIAL = 100  # runs, after which it is judged by what is known
_PLENTY = 0.6  # of what a window may take, in the bucket: joules are no longer scarce
_SCARCE_ROOM = 0.5  # of the same, in the window: joules are scarce
_PLENTY_OF_ROOM = 0.7  # joules are no longer scarce


class Economy:
    """Of the ways to run a variant: the preferred one, or while joules are scarce the thriftiest.

    A way that is not known well is taken to be as good as it may well be, so that it is tried, and
    kept until it is known; it is accounted for as it was guessed. Joules are scarce from when a run
    had to wait for the bucket, or the window is more than half full, until both have plenty again.

    Parameters
    ----------
    ways : sequence of Way
        Of each variant the preferred one first.
    """

    def __init__(self, ways: Sequence[Way]) -> None:
        count = 1 + max(way.variant for way in ways)
        self._of = [[i for i, w in enumerate(ways) if w.variant == v] for v in range(count)]
        self.first = [listed[0] for listed in self._of]
        """The preferred way of each variant."""
        self._thrifty = list(self.first)
        self.is_scarce = False
        self.spend_watts = 0.0
        """Beyond idle, what the cap allows. A way that cannot spend it is slower than need be."""

    def see_bucket(self, tokens: float, needed: float) -> None:
        """What the bucket holds, and what a run needs."""
        if tokens < needed:
            self.is_scarce = True

    def see_room(self, room: float, needed: float, tokens: float, spendable: float) -> None:
        """What the window has left, what a run needs, the bucket, and what either holds at most."""
        if room < max(2 * needed, _SCARCE_ROOM * spendable):
            self.is_scarce = True
        elif room >= _PLENTY_OF_ROOM * spendable and tokens >= _PLENTY * spendable:
            self.is_scarce = False

    def way(self, variant: int, account: PowerAccount) -> int:
        """How to run a variant now."""
        listed = self._of[variant]
        if not self.is_scarce or len(listed) == 1:
            return self.first[variant]
        kept = self._thrifty[variant]
        if not self._is_judged(kept, account):
            return kept
        best = min(listed, key=lambda way: self._cost(way, account))
        if self._cost(best, account) * _BETTER < self._cost(kept, account):
            self._thrifty[variant] = best
        return self._thrifty[variant]

    def candidates(self, variant: int, account: PowerAccount) -> list[int]:
        """Ways for a run with a deadline: the present one, and the fastest."""
        now = self.way(variant, account)
        fastest = min(self._of[variant], key=lambda way: account.durations[way].mean)
        return [now] if now == fastest else [now, fastest]

    def _is_judged(self, way: int, account: PowerAccount) -> bool:
        """Whether a way is known well enough to be held against others, or has had its trial."""
        count = account.durations[way].count
        return count >= _LONGEST_TRIAL or (count >= _ENOUGH_RUNS and account.is_known(way))

    def _cost(self, way: int, account: PowerAccount) -> float:
        """Joules of a run, or those that could have been spent meanwhile where these are more."""
        low, high = account.joules_bounds(way)  # what is entered is dearer while there is doubt
        joules = (low + high) / 2 if self._is_judged(way, account) else low
        return max(joules, account.durations[way].mean * self.spend_watts)


class Ladder:
    """The variant for runs without a deadline: the largest with which nobody waits too long.

    A step down is taken at once; a step up only when the wait would be half of what is bearable,
    and not before a quarter of that has gone by since the step before.

    Parameters
    ----------
    count : int
        Variants.
    patience : float, seconds
    """

    def __init__(self, count: int, patience: float) -> None:
        self.count = count
        self.variant = 0
        self._patience = patience
        self._stepped = float("-inf")

    def choose(self, now: float, waits: Sequence[float]) -> int:
        """The variant for the next run.

        Parameters
        ----------
        waits : sequence of float
            Of each variant, the seconds that the newest in the queue would wait if it ran next.
        """
        fitting = (v for v, wait in enumerate(waits) if wait <= self._patience)
        wanted = next(fitting, len(waits) - 1)
        if wanted < self.variant and waits[self.variant] < float("inf"):
            eased = waits[wanted] <= self._patience / 2
            if not eased or now - self._stepped < self._patience / 4:
                return self.variant
        if wanted != self.variant:
            self.variant = wanted
            self._stepped = now
        return self.variant
