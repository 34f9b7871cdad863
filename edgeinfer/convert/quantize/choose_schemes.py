"""Which layers get weights of four bits, and which int8, so that all fit a number of bytes.

Each layer that may have either is known by its bytes in both, and by its loss: what four bits add
to the noise at the outputs, where it alone has them. Losses of several layers are taken to add up.
Layers begin in int8. Those go to four bits first that lose least for each byte that this saves,
until everything fits. The last one may have saved more than was missing, so layers then go back,
the greatest loss first, wherever there is room.

Not guaranteed: the least sum of losses there is (that is the knapsack problem). It is exceeded by
less than the loss of one layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A layer, or layers that share a fate.

    loss : what its weights in four bits add to the outputs' noise, as a share of their energy.
    small, large : bytes of its weights in four bits and in int8.
    """

    names: tuple[str, ...]
    loss: float
    small: int
    large: int

    @property
    def saved(self) -> int:
        """Bytes that four bits save."""
        return self.large - self.small


def in_int8(candidates: Sequence[Candidate], room: int) -> list[Candidate]:
    """The candidates that are int8 where all together have this many bytes; greatest loss first.

    None are where not even four bits everywhere fit.
    """
    total = sum(candidate.large for candidate in candidates)
    order = sorted(candidates, key=lambda c: (c.loss / max(c.saved, 1), -c.saved, c.names))
    small: list[Candidate] = []
    for candidate in order:
        if total <= room:
            break
        small.append(candidate)
        total -= candidate.saved
    for candidate in sorted(small, key=lambda c: (-c.loss, c.names)):
        if total + candidate.saved <= room:
            small.remove(candidate)
            total += candidate.saved
    kept = [candidate for candidate in candidates if candidate not in small]
    return sorted(kept, key=lambda c: (-c.loss, c.names))
