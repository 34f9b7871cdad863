"""Rows of one tensor where rows of another have died: tensors of a buffer overlap by rows.

A ring is full at some times and nearly empty at others; of a tensor that is written band by band
the last rows are not there until the end, and of one that is read band by band the first are not
needed any more. Tensors whose rows are never needed at the same bytes at the same time may share
these bytes. Here that is decided for tensors that neighbouring groups of operations work on: they
form a *cluster*, one buffer of the file, in which each has a place.

Algorithm. For every place in a ring, and every row of a whole tensor, the set of steps is known in
which it holds something that is still to be read, or is read or written. Tensors are placed in
several orders, the largest first, those that are needed last, some at random; each goes to the
lowest offset at which these sets do not meet where bytes do. The lowest packing wins. Which groups'
tensors form a cluster is tried: those of each group, of the first and of all others, of all.

Not guaranteed: the lowest packing. Offsets are tried only where rows then begin or end together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.arrangement import Arrangement
from edgeinfer.convert.plan.lifetimes import activations
from edgeinfer.convert.plan.rows import own_rows_read, rows_read
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT, Storage

_OFFSETS = 16
"""Tensors begin at multiples of this inside a cluster; graph inputs, which are buffers, at 64."""

_SHUFFLES = 10  # orders in which tensors are placed besides, where there are few of them
_MOST_SHUFFLED = 24
_MOST_PLACES = 500  # rows of all tensors of a cluster
_MOST_ROWS = 16  # of a ring that is tried with each of its rows at the beginning of another's


@dataclass(frozen=True)
class Cluster:
    """Storages that overlap by rows, each at its offset."""

    offsets: dict[Storage, int]
    nbytes: int

    def buffers(self) -> Iterator[tuple[list[Storage], int]]:
        """The buffers that it becomes: their storages, and where they begin.

        A graph input is one of its own, since the caller's memory may take its place. In its bytes
        lies the buffer of all others.
        """
        yield from (([s], at) for s, at in self.offsets.items() if s.is_input)
        others = [storage for storage in self.offsets if not storage.is_input]
        begin = min(self.offsets[storage] for storage in others)
        yield others, begin // ARENA_ALIGNMENT * ARENA_ALIGNMENT


@dataclass
class _Tensor:
    """A storage by rows: the steps in which each place of a row is taken, as bits of an integer."""

    storage: Storage
    row_bytes: int
    taken: list[int]
    is_ring: bool = False
    alignment: int = _OFFSETS
    offset: int = -1

    @property
    def nbytes(self) -> int:
        return self.row_bytes * len(self.taken)

    @property
    def last(self) -> int:
        return max(taken.bit_length() for taken in self.taken)

    def lowest_fit(self, placed: Sequence[_Tensor]) -> int:
        """The first of the offsets at which it may lie."""
        mine = reduce(or_, self.taken)
        others = [other for other in placed if mine & reduce(or_, other.taken)]
        free = 0
        for offset in self.offsets(placed):
            if offset < free:
                continue
            for at, other in enumerate(others):
                free = self._free_of(other, offset)
                if free > offset:
                    others.insert(0, others.pop(at))  # likely in the way of the next one too
                    break
            else:
                return offset
        raise AssertionError("there is room behind everything")

    def _free_of(self, other: _Tensor, offset: int) -> int:
        """`offset` if it may lie there beside another, else where the next one may be.

        Two rows that must not meet keep meeting until one ends where the other begins.
        """
        height, height_of_other = self.row_bytes, other.row_bytes
        begin = max(offset, other.offset)
        end = min(offset + self.nbytes, other.offset + other.nbytes)
        while begin < end:
            row = (begin - offset) // height
            row_of_other = (begin - other.offset) // height_of_other
            end_of_other = other.offset + (row_of_other + 1) * height_of_other
            if self.taken[row] & other.taken[row_of_other]:
                return end_of_other - row * height
            begin = min(offset + (row + 1) * height, end_of_other)
        return offset

    def offsets(self, placed: Sequence[_Tensor]) -> list[int]:
        """Where to try it, the lowest first."""
        shifts = [0, self.nbytes]
        if len(self.taken) <= _MOST_ROWS:
            shifts = [self.row_bytes * row for row in range(len(self.taken) + 1)]
        edges = {
            other.offset + other.row_bytes * row
            for other in placed
            for row in range(len(other.taken) + 1)
        }
        behind = align_up(max(edges, default=0), self.alignment)
        found = {0, behind, *(edge - shift for edge in edges for shift in shifts)}
        return sorted(offset for offset in found if offset >= 0 and offset % self.alignment == 0)


def find_clusters(arrangement: Arrangement) -> Iterator[list[Cluster]]:
    """Ways to let the tensors of an arrangement's groups overlap."""
    tensors = _tensors(arrangement)
    born: list[list[_Tensor]] = [[] for _ in arrangement.groups]
    inputs = [tensor for storage, tensor in tensors.items() if storage.is_input]
    for storage, tensor in tensors.items():
        begin = arrangement.lifetimes[storage][0]
        writer = arrangement.steps[begin].operation
        for members, group in zip(born, arrangement.groups, strict=True):
            if writer in group and not storage.is_input:
                members.append(tensor)
    packed: dict[tuple[Storage, ...], Cluster | None] = {}
    for way in _ways(born, inputs):
        clusters = []
        for members in way:
            key = tuple(tensor.storage for tensor in members)
            if key not in packed:
                packed[key] = _pack(members)
            clusters.append(packed[key])
        found = [cluster for cluster in clusters if cluster is not None]
        if found:
            yield found


def _ways(born: list[list[_Tensor]], inputs: list[_Tensor]) -> Iterator[list[list[_Tensor]]]:
    """What may be clusters: tensors born in the same groups, and with the first of them inputs."""
    others = [tensor for members in born[1:] for tensor in members]
    for first in [born[0], [*inputs, *born[0]]] if inputs else [born[0]]:
        yield [first, *born[1:]]
        if len(born) > 1:
            yield [first, others]
            yield [[*first, *others]]


def _tensors(arrangement: Arrangement) -> dict[Storage, _Tensor]:
    """Those that may overlap others: none is a graph output or an input that is fed.

    Where values of a storage have other rows than the rest, it is one row.
    """
    layout, operations = arrangement.layout, arrangement.operations
    steps, ring_rows = arrangement.steps, arrangement.ring_rows
    rows: dict[Storage, list[tuple[int, int]]] = {}  # of each row: first and last step
    made = {value for operation in operations for value in operation.outputs}
    for storage in layout.storages():
        values = list(storage.offsets)
        shapes = {(value.rows, value.row_bytes, storage.offsets[value]) for value in values}
        is_own = storage.pinned is None and made.issuperset(values)
        is_whole_input = storage.is_input and len(values) == 1 and storage not in ring_rows
        if len(shapes) == 1 and (is_own or is_whole_input):
            rows[storage] = [(len(steps), -1)] * values[0].rows

    def touch(storage: Storage, begin: int, end: int, step: int) -> None:
        of_storage = rows.get(storage)
        if of_storage is not None:
            for row in range(begin, end):
                first, last = of_storage[row]
                of_storage[row] = min(first, step), max(last, step)

    for index, step in enumerate(steps):
        operation = operations[step.operation]
        band = step.row_begin, step.row_end
        for value in activations(operation.inputs):
            touch(layout.storage_of[value], *rows_read(operation, value, *band), index)
        for number, value in enumerate(operation.outputs):
            touch(layout.storage_of[value], *(band if number == 0 else (0, value.rows)), index)
        own = own_rows_read(operation, step.row_begin)
        touch(layout.storage_of[operation.outputs[0]], *own, index)
    found = {}
    for storage, lives in rows.items():
        value = next(iter(storage.offsets))
        if storage.is_input:
            lives = _of_input(lives, len(steps))
        held = ring_rows.get(storage, value.rows)
        taken = [0] * held
        needed = -1
        for row, (first, last) in enumerate(lives):
            # Who opens the file takes a row that was written over, and all before it, for lost.
            needed = last = max(last, needed)
            if first <= last:
                taken[row % held] |= (1 << last + 1) - (1 << first)
        alignment = ARENA_ALIGNMENT if storage.is_input else _OFFSETS
        found[storage] = _Tensor(storage, value.row_bytes, taken, held < value.rows, alignment)
    for storage, (first, last) in arrangement.lifetimes.items():
        if storage not in found and storage.pinned is None:
            found[storage] = _Tensor(storage, storage.nbytes, [(1 << last + 1) - (1 << first)])
    return found


def _of_input(lives: Sequence[tuple[int, int]], steps: int) -> list[tuple[int, int]]:
    """Of each row of a graph input: from the first step on until it has been read, and has come.

    Who feeds an input by rows has handed over a row when a step has read it or a later one.
    """
    found = []
    fed = steps - 1
    for first, last in reversed(lives):
        fed = min(first, fed)
        found.append((0, max(last, fed)))
    return found[::-1]


def _pack(tensors: Sequence[_Tensor]) -> Cluster | None:
    """The lowest of some packings that need to be one buffer; None when none does."""
    if len(tensors) < 2 or sum(len(tensor.taken) for tensor in tensors) > _MOST_PLACES:
        return None
    orders = [
        sorted(tensors, key=lambda t: -t.nbytes),
        sorted(tensors, key=lambda t: (-t.last, -t.nbytes)),
    ]
    chance = random.Random(0)
    if len(tensors) <= _MOST_SHUFFLED:
        orders += [chance.sample(orders[0], len(tensors)) for _ in range(_SHUFFLES)]
    best: Cluster | None = None
    for order in orders:
        placed: list[_Tensor] = []
        for tensor in order:
            tensor.offset = tensor.lowest_fit(placed)
            placed.append(tensor)
        nbytes = max(tensor.offset + tensor.nbytes for tensor in placed)
        if (best is None or nbytes < best.nbytes) and _share_bytes(placed):
            best = Cluster({tensor.storage: tensor.offset for tensor in placed}, nbytes)
    return best


def _share_bytes(placed: Sequence[_Tensor]) -> bool:
    """Whether some have bytes in common that a reader of the file judges row by row.

    Without such a pair they need not be one buffer, and must not: whole tensors of a buffer that
    have the very same bytes, or none in common, are taken for results in place.
    """
    spans = sorted((t.offset, t.offset + t.nbytes, t.is_ring, t.storage.is_input) for t in placed)
    pairs = [(a, b) for at, a in enumerate(spans) for b in spans[at + 1 :] if b[0] < a[1]]
    others = [(a, b) for a, b in pairs if not (a[3] or b[3])]
    by_rows = [a[:2] != b[:2] or a[2] or b[2] for a, b in others]
    return any(by_rows) or (len(pairs) > len(others) and not others)
