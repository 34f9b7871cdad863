"""The order in which operators run: any order that respects the data, with a low memory peak.

Where a network branches, it matters which branch goes first. A state of the search is the set of
operations that are done; live bytes follow from the set alone, so of all ways to reach a set only
the one with the lowest peak so far is worth keeping (dynamic programming over the graph's downsets,
as in Ahn et al., "Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired Neural Networks for
Edge Devices", MLSys 2020).

Algorithm. All sets of k operations are extended to sets of k + 1, for k = 0, 1, ... Three things
keep that small:

- a state whose peak reaches the best peak known is dropped;
- an operation that needs no new peak and leaves no more bytes alive than before is run at once,
  alone: doing it now can never be worse than doing it later;
- at most `width` states of each size are kept, those with the lowest peak, then the fewest live
  bytes, and of each at most 64 operations are tried. If these limits are never met, the order found
  is optimal; chains and small graphs always are.

A narrow search comes first; its peak prunes the wide one. When even the narrow search would take
too long, the order of the source model stays.

Results that may be written over an input count once, wherever the merge looks possible. Whether it
really is, `inplace` decides afterwards. So the peak here is an estimate; `planner` compares
the final plans, and keeps the order of the source model when it is as good.

Not guaranteed: the optimum, where the graph is so wide that `width` limits the search. The result
depends on the graph alone: limits count work, not seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.inplace import may_overwrite
from edgeinfer.convert.plan.lifetimes import activations
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT, Layout
from edgeinfer.convert.program import Operation, Value

_NARROW = 32
_WIDE = 4096
_OPTIONS = 64
_WORK = 150_000  # operations tried in the wide search: about a second
_MOST_WORK = 100_000  # operations tried before the narrow search is given up


def find_order(layout: Layout, *, thorough: bool = True) -> list[Operation]:
    """The layout's operations in an order with a low peak; their own when none is better.

    Without `thorough` only the narrow search is made.
    """
    costs = _Costs(layout)
    source = costs.peak_of(range(costs.count))
    if source <= costs.lower_bound:
        return list(layout.operations)
    narrow = _search(costs, _NARROW, source, _MOST_WORK)
    best = narrow
    width = min(_WIDE, _NARROW * _WORK // narrow.work)
    if thorough and narrow.truncated and narrow.peak > costs.lower_bound and width > _NARROW:
        wide = _search(costs, width, min(narrow.peak, source), 4 * _WORK)
        if wide.order is not None:
            best = wide
    if best.order is None:
        return list(layout.operations)
    return [layout.operations[index] for index in best.order]


class _Costs:
    """What running an operation costs, with storages and operations as numbers and sets as bits."""

    def __init__(self, layout: Layout) -> None:
        operations = layout.operations
        self.count = len(operations)
        storages = layout.storages()
        number = {storage: index for index, storage in enumerate(storages)}
        self.sizes = [align_up(storage.nbytes, ARENA_ALIGNMENT) for storage in storages]
        self.is_input = [storage.is_input for storage in storages]
        self.is_output = [s.pinned is not None and not s.is_input for s in storages]
        self.users = [0] * len(storages)
        self.touched: list[list[int]] = []
        self.needed = [0] * self.count  # operations that must come before
        self.in_place: list[list[tuple[int, int]]] = []
        writers: list[list[tuple[int, int, int]]] = [[] for _ in storages]

        def place(value: Value) -> tuple[int, int, int]:
            storage = layout.storage_of[value]
            return number[storage], *storage.span(value)

        for index, operation in enumerate(operations):
            inputs = activations(operation.inputs)
            touched = {place(value)[0] for value in [*inputs, *operation.outputs]}
            self.touched.append(sorted(touched))
            for storage in touched:
                self.users[storage] |= 1 << index
            for value in inputs:
                storage, begin, end = place(value)
                for low, high, writer in writers[storage]:
                    if low < end and begin < high:
                        self.needed[index] |= 1 << writer
            target = place(operation.outputs[0])[0]
            self.in_place.append(
                [
                    (place(value)[0], target)
                    for value in inputs
                    if may_overwrite(operation, value)
                    and not layout.storage_of[value].is_input
                    and layout.storage_of[value].nbytes == value.nbytes
                    and storages[target].nbytes == value.nbytes
                ]
            )
            for value in operation.outputs:
                storage, begin, end = place(value)
                writers[storage].append((begin, end, index))
        self.live_at_start = sum(
            size
            for size, is_input, users in zip(self.sizes, self.is_input, self.users, strict=True)
            if is_input and users
        )
        # An operation's own operands must be alive when it runs.
        everything = (1 << self.count) - 1
        self.lower_bound = max(
            (
                sum(self.sizes[storage] for storage in self.touched[index])
                - self.saving(index, everything ^ (1 << index), unwritten=True)
                for index in range(self.count)
            ),
            default=0,
        )

    def saving(self, index: int, done: int, *, unwritten: bool = False) -> int:
        """Bytes that the output need not have because it takes over those of a dying input."""
        return max(
            (
                self.sizes[target]
                for source, target in self.in_place[index]
                if not self.is_output[source]
                and self.users[source] & ~done == 1 << index
                and (unwritten or not self.users[target] & done)
            ),
            default=0,
        )

    def run(self, index: int, done: int, live: int) -> tuple[int, int]:
        """Live bytes while operation `index` runs after those in `done`, and when it has run."""
        new = freed = 0
        bit = 1 << index
        for storage in self.touched[index]:
            if not self.is_input[storage] and not self.users[storage] & done:
                new += self.sizes[storage]
            if not self.is_output[storage] and self.users[storage] & ~done == bit:
                freed += self.sizes[storage]
        return live + new - self.saving(index, done), live + new - freed

    def peak_of(self, order: range) -> int:
        """Peak of running all operations in this order."""
        done, live, peak = 0, self.live_at_start, 0
        for index in order:
            during, live = self.run(index, done, live)
            peak = max(peak, during)
            done |= 1 << index
        return peak


_Path: TypeAlias = "tuple[_Path, int] | None"
"""Operations run so far, as a linked list: (those before, the last one)."""


@dataclass(frozen=True)
class _Found:
    order: list[int] | None
    peak: int
    truncated: bool
    work: int


@dataclass(frozen=True)
class _State:
    peak: int
    live: int
    ready: int
    path: _Path


def _search(costs: _Costs, width: int, bound: int, most_work: int) -> _Found:
    """An order with a peak below `bound`, the lowest that a search of this width finds."""
    followers: list[list[int]] = [[] for _ in range(costs.count)]
    for index, needed in enumerate(costs.needed):
        for before in _bits(needed):
            followers[before].append(index)
    ready = sum(1 << index for index, needed in enumerate(costs.needed) if not needed)
    layer = {0: _State(0, costs.live_at_start, ready, None)}
    truncated = False
    work = 1
    for _ in range(costs.count):
        following: dict[int, _State] = {}
        for done, state in layer.items():
            options = []
            for number, index in enumerate(_bits(state.ready)):
                if number == _OPTIONS:
                    truncated = True
                    break
                work += 1
                during, live = costs.run(index, done, state.live)
                peak = max(state.peak, during)
                if live <= state.live and during <= max(state.peak, costs.lower_bound):
                    options = [(peak, live, index)]
                    break
                options.append((peak, live, index))
            for peak, live, index in options:
                after = done | 1 << index
                known = following.get(after)
                if peak >= bound or (known is not None and known.peak <= peak):
                    continue
                unlocked = sum(1 << f for f in followers[index] if not costs.needed[f] & ~after)
                ready = (state.ready ^ 1 << index) | unlocked
                following[after] = _State(peak, live, ready, (state.path, index))
        if work > most_work:
            return _Found(None, bound, True, work)
        if len(following) > width:
            truncated = True
            kept = sorted(following.items(), key=lambda item: (item[1].peak, item[1].live))
            following = dict(kept[:width])
        layer = following
    if not layer:
        return _Found(None, bound, truncated, work)
    (state,) = layer.values()
    order = []
    path = state.path
    while path is not None:
        path, index = path
        order.append(index)
    return _Found(order[::-1], state.peak, truncated, work)


def _bits(mask: int) -> Iterator[int]:
    """Positions of the ones, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
