"""What a governor decided, and why: a log of bounded length."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple


class Decision(NamedTuple):
    """One decision."""

    time: float
    """Seconds of the governor's clock."""
    kind: str
    """start, refuse, degrade, setting, variant, thermal, late or lever."""
    what: str
    """What was decided."""
    why: str
    """On what grounds."""
    value: float
    """Of a start the seconds that it waited; of others the figure that moved."""

    def __str__(self) -> str:
        return f"{self.time:12.3f} s  {self.kind:<8} {self.what}: {self.why}"


class DecisionLog:
    """The newest decisions, oldest first. Printing it gives one line for each.

    Parameters
    ----------
    length : int
        How many are kept.
    """

    def __init__(self, length: int = 1000) -> None:
        self._entries: deque[Decision] = deque(maxlen=length)
        self.counts: dict[str, int] = {}
        """How many there were of each kind, those that are no longer kept included."""

    def add(self, time: float, kind: str, what: str, why: str, value: float = 0.0) -> None:
        """Enter a decision."""
        self._entries.append(Decision(time, kind, what, why, value))
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Decision]:
        return iter(tuple(self._entries))

    def __getitem__(self, index: int) -> Decision:
        return self._entries[index]

    def of(self, *kinds: str) -> list[Decision]:
        """Only those of some kinds."""
        return [entry for entry in tuple(self._entries) if entry.kind in kinds]

    def __str__(self) -> str:
        return "\n".join(map(str, self))
