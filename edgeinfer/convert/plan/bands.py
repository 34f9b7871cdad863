"""Neighbouring operations take turns of a few rows, so that what lies between stays in cache.

A tensor that is written whole and then read whole passes through memory twice when it is larger
than the cache, and takes its whole size of the arena. Where one operation alone reads it, and reads
a band of its rows for a band of output rows, producer and consumer can take turns instead: the
tensor becomes a *ring* that holds the rows that are still needed, and nothing is computed twice.

Algorithm. In the order of operations, maximal chains are found in which each operation reads the
one before by rows and nobody else does. A chain is cut into groups by dynamic programming. A group
of one operation runs whole. A group of several runs by bands of its last operation's rows: for each
band the operations before it, the first one first, compute the rows that are needed and not there
yet; the band is the tallest for which the rings of the group fit into `CACHE_BYTES` together. The
cheapest cut wins, by two costs in bytes:

- a tensor between two groups that is larger than `CACHE_BYTES`: its size;
- a step: `STEP_BYTES`, what could be moved in the time that a step takes to set up.

Results that share bytes with others, graph inputs and outputs are never rings.

Not guaranteed: that these costs are those of a particular device. They are meant for any: cores
with 512 KiB of second-level cache and more, where weights and other tensors want room too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from edgeinfer.convert.plan.lifetimes import activations
from edgeinfer.convert.plan.rows import WHOLE, reads_by_rows, rows_read
from edgeinfer.convert.plan.views import Layout, Storage
from edgeinfer.convert.program import Operation, Step

CACHE_BYTES = 256 * 1024
STEP_BYTES = 32 * 1024
_LONGEST = 16  # operations in a group


@dataclass(frozen=True)
class Bands:
    """Steps of all operations, and how many rows the rings hold."""

    steps: list[Step]
    ring_rows: dict[Storage, int] = field(default_factory=dict)


def whole_steps(operations: Sequence[Operation]) -> Bands:
    """Every operation in one step."""
    return Bands([Step(i, 0, op.outputs[0].rows) for i, op in enumerate(operations)])


def band_steps(layout: Layout, operations: Sequence[Operation]) -> Bands:
    """Steps by bands where that keeps tensors in cache; every operation whole elsewhere."""
    found = Bands([])
    begin = 0
    links = _links(layout, operations)
    while begin < len(operations):
        end = begin + 1
        while end < len(operations) and links[end - 1]:
            end += 1
        for first, last in _cut(layout, operations, begin, end):
            group = _group(layout, operations, first, last)
            assert group is not None
            found.steps.extend(group.steps)
            found.ring_rows.update(group.ring_rows)
        begin = end
    return found


def _links(layout: Layout, operations: Sequence[Operation]) -> list[bool]:
    """Whether what lies between each operation and the next may be a ring."""
    readers: dict[Storage, list[int]] = {}
    for index, operation in enumerate(operations):
        for value in activations(operation.inputs):
            readers.setdefault(layout.storage_of[value], []).append(index)
    links = []
    for index, operation in enumerate(operations):
        storage = layout.storage_of[operation.outputs[0]]
        links.append(
            len(operation.outputs) == 1
            and operation.operator not in WHOLE
            and storage.pinned is None
            and len(storage.offsets) == 1
            and readers.get(storage) == [index + 1]
            and reads_by_rows(operations[index + 1], operation.output)
        )
    return links


def _cut(
    layout: Layout, operations: Sequence[Operation], begin: int, end: int
) -> list[tuple[int, int]]:
    """The cheapest cut of a chain into groups."""
    best: dict[int, tuple[int, list[tuple[int, int]]]] = {begin: (0, [])}
    for last in range(begin + 1, end + 1):
        output = operations[last - 1].outputs[0]
        stored = output.nbytes if output.nbytes > CACHE_BYTES and last < end else 0
        choices = []
        for first in range(max(begin, last - _LONGEST), last):
            between = [operation.outputs[0].nbytes for operation in operations[first : last - 1]]
            if between and max(between) <= CACHE_BYTES:
                continue  # it is in cache as it is
            group = _group(layout, operations, first, last)
            if group is not None:
                cost, cuts = best[first]
                cost += stored + sum(_step_cost(operations[s.operation]) for s in group.steps)
                choices.append((cost, [*cuts, (first, last)]))
        best[last] = min(choices, key=lambda choice: choice[0])
    return best[end][1]


def _step_cost(operation: Operation) -> int:
    constants = (value for value in operation.inputs if value is not None)
    return STEP_BYTES + sum(value.nbytes for value in constants if value.data is not None)


def _group(layout: Layout, operations: Sequence[Operation], first: int, last: int) -> Bands | None:
    """A group's steps with the tallest bands whose rings fit; None when not even the lowest do."""
    rows = operations[last - 1].outputs[0].rows
    if last - first == 1:
        return Bands([Step(first, 0, rows)])
    target = layout.storage_of[operations[last - 1].outputs[0]]
    for index in range(first, last):
        operation = operations[index]
        touched = activations(operation.inputs)
        if any(layout.storage_of[value] is target for value in touched):
            return None  # rows would be written that are still to be read

    @cache
    def with_bands(height: int) -> tuple[Bands, int]:
        made = _run_by_bands(layout, operations, first, last, height)
        rings = zip(operations[first : last - 1], made.ring_rows.values(), strict=True)
        held = sum(ring_rows * operation.output.row_bytes for operation, ring_rows in rings)
        return made, held

    low, high = 0, rows
    while low < high:
        middle = (low + high + 1) // 2
        if with_bands(middle)[1] <= CACHE_BYTES:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        return None
    count = -(-rows // low)
    return with_bands(-(-rows // count))[0]  # as many bands, of equal height


def _run_by_bands(
    layout: Layout, operations: Sequence[Operation], first: int, last: int, height: int
) -> Bands:
    """Steps of a group whose last operation runs `height` rows at a time, and the rings' rows."""
    rows = [operations[index].outputs[0].rows for index in range(first, last)]
    done = [0] * (last - first)
    held = [0] * (last - first - 1)
    steps: list[Step] = []
    while done[-1] < rows[-1]:
        wanted = [0] * (last - first)
        wanted[-1] = min(done[-1] + height, rows[-1])
        oldest = [0] * (last - first)
        for at in reversed(range(1, last - first)):
            value = operations[first + at - 1].output
            if wanted[at] > done[at]:
                oldest[at - 1], wanted[at - 1] = rows_read(
                    operations[first + at], value, done[at], wanted[at]
                )
            else:
                oldest[at - 1] = wanted[at - 1] = done[at - 1]
            if wanted[-1] == rows[-1]:
                wanted[at - 1] = rows[at - 1]  # rows that nobody reads are computed too
        for at, want in enumerate(wanted):
            if want > done[at]:
                if at < len(held):
                    held[at] = max(held[at], want - min(oldest[at], done[at]))
                steps.append(Step(first + at, done[at], want))
                done[at] = want
    rings = {
        layout.storage_of[operations[first + at].output]: held_rows
        for at, held_rows in enumerate(held)
    }
    return Bands(steps, rings)
