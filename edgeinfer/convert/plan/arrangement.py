"""A plan but for its addresses: layout, order, steps and rings, and what they need at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeinfer.convert.plan.bands import Bands
from edgeinfer.convert.plan.lifetimes import find_lifetimes, live_bytes, make_buffers
from edgeinfer.convert.plan.views import Layout, Storage
from edgeinfer.convert.program import Operation, Program, Step


@dataclass(frozen=True)
class Arrangement:
    """Everything that is decided before offsets.

    groups are the operations that take turns with each other, in order; none where all run whole.
    cost is in nanoseconds, by the costs that it was planned with (`step_cost`).
    """

    program: Program
    layout: Layout
    operations: list[Operation]
    steps: list[Step]
    ring_rows: dict[Storage, int]
    lifetimes: dict[Storage, tuple[int, int]]
    live: list[int]
    groups: list[range]
    cost: float

    @property
    def peak(self) -> int:
        """The largest sum of live bytes."""
        return max(self.live)

    @property
    def fullness(self) -> tuple[int, int]:
        """The peak, and in how many steps it is reached."""
        return self.peak, self.live.count(self.peak)


def arrange(
    program: Program,
    layout: Layout,
    operations: list[Operation],
    bands: Bands,
    *,
    groups: Sequence[range] = (),
    cost: float = 0.0,
) -> Arrangement:
    """Lifetimes and live bytes of these steps."""
    lifetimes = find_lifetimes(layout, operations, bands.steps)
    live = live_bytes(make_buffers(lifetimes, bands.ring_rows), aligned=True)
    return Arrangement(
        program,
        layout,
        operations,
        bands.steps,
        bands.ring_rows,
        lifetimes,
        live,
        list(groups),
        cost,
    )
