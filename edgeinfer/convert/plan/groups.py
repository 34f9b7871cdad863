"""Which operations form groups that run by bands of rows, and of what height the bands are.

Every cut of the order of operations into groups (`bands`) is a plan: it takes so much memory and so
much time. A group takes the bytes of what stands whole while it runs and of its rings; the memory
of a plan is that of its largest group. Its time is the sum of what its steps cost (`step_cost`) and
of the tensors that pass through memory because they do not fit the cache.

Algorithm. For each last operation and each number of bands one simulation gives the rings of all
groups that end there. Then shortest paths: the cheapest cut whose groups all stay within a limit.
Lowering the limit step by step walks along the curve of time against memory down to the smallest
plan.

Not guaranteed: memory is that of rings and tensors added up, before offsets are decided; groups of
more than `LONGEST` operations are not tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.bands import Bands, Flow, Pull, group_bands
from edgeinfer.convert.plan.step_cost import StepCosts
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT

LONGEST = 128
"""Operations in a group."""

_FINER = 1.02
"""From one plan of the curve to the next, memory shrinks by this factor at least."""


@dataclass(frozen=True)
class Group:
    """Operations from `first` up to, not including, `last`, each cut into so many bands."""

    first: int
    last: int
    bands: int
    nbytes: int
    cost: float


class Groups:
    """The groups of an order of operations.

    Parameters
    ----------
    longest : operations in a group.
    least : a group of several operations is tried only where that makes a ring of a storage of more
        bytes.
    """

    def __init__(
        self, flow: Flow, costs: StepCosts, *, longest: int = LONGEST, least: int = 0
    ) -> None:
        self.flow = flow
        self._longest = longest
        self._least = least
        self._costs = costs
        self._step_costs = [costs.of_step(operation) for operation in flow.operations]
        self._sizes = [align_up(s.nbytes, ARENA_ALIGNMENT) for s in flow.storages]
        count = len(flow.operations)
        self._begun = [0] * (count + 1)  # bytes of what is touched first before each operation
        self._ended = [0] * (count + 1)  # bytes of what is touched last before it
        self._born: list[list[int]] = [[] for _ in range(count)]
        for storage, (first, last) in enumerate(flow.touched):
            for index in range(first + 1, count + 1):
                self._begun[index] += self._sizes[storage]
            for index in range(last + 1, count + 1):
                self._ended[index] += self._sizes[storage]
            self._born[max(first, 0)].append(storage)
        self._choices = [self._ending_at(last) for last in range(1, count + 1)]

    def cheapest(self, limit: float, *, exempt: Group | None = None) -> list[Group] | None:
        """The cheapest cut of which no group takes more than `limit` bytes; None without one.

        The group `exempt` may take more.
        """
        best: list[tuple[float, list[Group]] | None] = [(0.0, [])]
        for choices in self._choices:
            found: tuple[float, Group] | None = None
            for group in choices:
                before = best[group.first]
                if (group.nbytes > limit and group != exempt) or before is None:
                    continue
                cost = before[0] + group.cost
                if found is None or cost < found[0]:
                    found = cost, group
            if found is None:
                best.append(None)
            else:
                cost, group = found
                before = best[group.first]
                assert before is not None
                best.append((cost, [*before[1], group]))
        return None if best[-1] is None else best[-1][1]

    def curve(self) -> Iterator[list[Group]]:
        """Cuts from the cheapest to the smallest, each smaller than the one before."""
        limit = float("inf")
        while (cut := self.cheapest(limit)) is not None:
            yield cut
            nbytes = nbytes_of(cut)
            limit = min(nbytes - 1, int(nbytes / _FINER))

    def smallest(self) -> int:
        """Bytes of the cut that takes the fewest."""
        best = [0]
        for choices in self._choices:
            best.append(min(max(best[group.first], group.nbytes) for group in choices))
        return best[-1]

    def _ending_at(self, last: int) -> list[Group]:
        """Groups whose last operation is that before `last`; none that another one beats."""
        begin = self._earliest(last)
        groups: dict[int, list[Group]] = {}
        seen: set[tuple[int, ...]] = set()
        for bands in self._band_counts(begin, last):
            heights = self.flow.heights(bands)
            key = tuple(heights[begin:last])
            if key not in seen:
                seen.add(key)
                self._add_groups(groups, begin, last, bands)
        return [group for found in groups.values() for group in _unbeaten(found)]

    def _earliest(self, last: int) -> int:
        """Where the longest group that is worth trying begins."""
        begin = max(0, last - self._longest)
        for first in range(begin, last):
            for storage in self._born[first]:
                if self._sizes[storage] > self._least and self.flow.is_ring(storage, begin, last):
                    return begin
        return last - 1

    def _band_counts(self, begin: int, last: int) -> list[int]:
        most = max(self.flow.rows[begin:last])
        counts = [1]
        while counts[-1] < most:
            counts.append(min(most, counts[-1] + max(1, counts[-1] // 3)))
        return counts

    def _add_groups(
        self, groups: dict[int, list[Group]], begin: int, last: int, bands: int
    ) -> None:
        flow = self.flow
        heights = flow.heights(bands)
        held = Pull(flow, begin, last, heights).held
        rings = whole = spilled = ring_bytes = 0
        cost = 0.0
        for first in reversed(range(begin, last)):
            for storage in self._born[first]:
                size = self._sizes[storage]
                if flow.is_ring(storage, first, last):
                    value = flow.ring_value(storage)
                    rows = min(held[storage], value.rows)
                    rings += align_up(rows * value.row_bytes, ARENA_ALIGNMENT)
                    whole += size
                    ring_bytes += size
                elif size > self._costs.cache_bytes and not flow.storages[storage].is_input:
                    spilled += size
            cost += -(-flow.rows[first] // heights[first]) * self._step_costs[first]
            nbytes = self._begun[last] - self._ended[first] - whole + rings
            passed = spilled + (ring_bytes if rings > self._costs.cache_bytes else 0)
            total = cost + passed * self._costs.memory_ns
            groups.setdefault(first, []).append(Group(first, last, bands, nbytes, total))


def steps_of(flow: Flow, cut: Sequence[Group]) -> Bands:
    """Steps and rings of a cut."""
    bands = Bands([])
    for group in cut:
        made = group_bands(flow, group.first, group.last, flow.heights(group.bands))
        bands.steps.extend(made.steps)
        bands.ring_rows.update(made.ring_rows)
    return bands


def _unbeaten(groups: Sequence[Group]) -> list[Group]:
    found: list[Group] = []
    for group in sorted(groups, key=lambda g: (g.nbytes, g.cost)):
        if not found or group.cost < found[-1].cost:
            found.append(group)
    return found


def nbytes_of(cut: Sequence[Group]) -> int:
    """Bytes of the largest group."""
    return max((group.nbytes for group in cut), default=0)
