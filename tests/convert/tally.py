"""How often results of one test differ from a reference, over all its examples together.

A bound on the size of a difference says little: a kernel that truncates where it should round is
off by one step in half of its values, and never by more. The share tells the two apart, and needs
more values than a single small example has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Of values that round once in float64 here and in float32 or fixed point there, on scales with
# ties: docs/internals/numerics.md measures up to 7 % for sums and less for the rest.
SHARE = 0.08
# What may differ however few values a test compares.
SLACK = 2


@dataclass
class Count:
    """Values compared under one name, those that differed, and how many of them may."""

    values: int = 0
    differ: int = 0
    share: float = 0.0

    @property
    def allowed(self) -> float:
        return self.share * self.values + SLACK


class Tally:
    """Counts of the test that runs; a fixture clears them before and checks them after it."""

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}

    def clear(self) -> None:
        self._counts.clear()

    def add(self, what: str, ours: np.ndarray, theirs: np.ndarray, share: float) -> None:
        """Count two arrays of integers; `share` of all values under this name may differ."""
        count = self._counts.setdefault(what, Count())
        count.values += ours.size
        count.differ += int(np.count_nonzero(ours != theirs))
        count.share = max(count.share, share)

    def check(self) -> None:
        """The shares hold."""
        for what, count in self._counts.items():
            assert count.differ <= count.allowed, (
                f"{what}: {count.differ} of {count.values} values differ, "
                f"more than {count.share:.2%} and {SLACK}"
            )


tally = Tally()
