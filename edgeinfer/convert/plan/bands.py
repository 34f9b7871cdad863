"""Neighbouring operations take turns of a few rows, and what lies between them becomes a ring.

A tensor that is written whole and then read whole takes its whole size of the arena, and passes
through memory twice when it is larger than the cache. Where operations read bands of its rows for
bands of theirs, producer and consumers can take turns instead: the tensor becomes a *ring* that
holds the rows that are still needed, and nothing is computed twice.

Algorithm. A group is an unbroken run of the order of operations. Its last operation asks for its
rows, a band at a time; an operation that is asked first asks those before it for the rows that it
reads, then computes bands of its own until it has what was asked for. So a row is made when
somebody needs it and not before. While this is simulated, every storage keeps count of its newest
row and of the oldest that somebody in the group is still to read: the most that lie between is the
size of its ring. Operations of the group that nobody asked for run after its last, whole.

The height of bands is the same share of every operation's rows: one of so many bands.

A storage becomes a ring when everything that touches it is in the group; its values then all have
the same rows. A graph output never does. A graph input does where the caller may feed it by rows:
then a row is fed when the first operation needs it.

What an operation asks for does not depend on where the group begins. So one simulation for each
last operation tells the rings of all groups that end there.

An operation that shrinks what it reads beside others (a 1x1 at stride 2 that skips a block) follows
them: before more rows come it runs as far as they have read, so that no row stays for it alone.

Not guaranteed: the lowest memory. All operations of a group have the same number of bands, and one
that several others read is run when the first of them asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeinfer.convert.plan.lifetimes import activations
from edgeinfer.convert.plan.rows import WHOLE, rows_read
from edgeinfer.convert.plan.views import Layout, Storage
from edgeinfer.convert.program import Operation, Step, Value


@dataclass(frozen=True)
class Bands:
    """Steps of operations, and how many rows the rings hold."""

    steps: list[Step]
    ring_rows: dict[Storage, int] = field(default_factory=dict)


def whole_steps(operations: Sequence[Operation]) -> Bands:
    """Every operation in one step."""
    return Bands([Step(i, 0, op.outputs[0].rows) for i, op in enumerate(operations)])


@dataclass(frozen=True)
class Read:
    """An activation that an operation reads.

    first, past : of each output row, the first row that it needs and one past the last.
    makers : operations that must have run before, as many rows of them as are needed; or all rows
        of them, where the value is a view of what they make.
    is_input : whether rows of it are fed when they are needed.
    """

    storage: int
    front: int  # which of the storage's readers this is
    first: Sequence[int]
    past: Sequence[int]
    makers: tuple[int, ...]
    is_view: bool
    is_input: bool
    rows: int


class Flow:
    """Which operations write and read which storages, in one order. Storages are numbered.

    Attributes
    ----------
    rows : of the first output of each operation.
    touched : first and last operation that touches each storage; -1 for a graph input that is there
        from the start, the number of operations for a graph output.
    followers : of each operation, others that keep up with the readers of what it writes.
    """

    def __init__(
        self, layout: Layout, operations: Sequence[Operation], *, feed_inputs: bool = False
    ) -> None:
        self.operations = operations
        self.rows = [operation.outputs[0].rows for operation in operations]
        self.storages: list[Storage] = []
        number: dict[Storage, int] = {}
        for operation in operations:
            for value in activations([*operation.inputs, *operation.outputs]):
                if number.setdefault(layout.storage_of[value], len(number)) == len(self.storages):
                    self.storages.append(layout.storage_of[value])
        self._number = {v: number[s] for v, s in layout.storage_of.items() if s in number}
        self._feed_inputs = feed_inputs
        self._producers = {v: i for i, op in enumerate(operations) for v in op.outputs}
        self.writes = [
            tuple(dict.fromkeys(self._number[value] for value in operation.outputs))
            for operation in operations
        ]
        self.readers = [0] * len(self.storages)
        self.reads = [self._reads_of(index) for index in range(len(operations))]
        self.touched = self._find_touched()
        self._rings = [self._can_be_ring(storage) for storage in self.storages]
        followers = self._find_followers()
        self.followers = [
            [follower for storage in written for follower in followers[storage]]
            for written in self.writes
        ]

    def _reads_of(self, index: int) -> list[Read]:
        operation = self.operations[index]
        found = []
        for value in activations(operation.inputs):
            ranges = [rows_read(operation, value, r, r + 1) for r in range(self.rows[index])]
            storage = self._number[value]
            producer = self._producers.get(value)
            found.append(
                Read(
                    storage=storage,
                    front=self.readers[storage],
                    first=[first for first, _ in ranges],
                    past=[past for _, past in ranges],
                    makers=self._writers(index, value) if producer is None else (producer,),
                    is_view=producer is None,
                    is_input=self.storages[storage].is_input,
                    rows=value.rows,
                )
            )
            self.readers[storage] += 1
        return found

    def _writers(self, index: int, view: Value) -> tuple[int, ...]:
        """The operations before `index` that write any byte of a view."""
        storage = self.storages[self._number[view]]
        begin, end = storage.span(view)
        makers = [
            self._producers[part]
            for part, (low, high) in storage.written.items()
            if low < end and begin < high and part in self._producers
        ]
        return tuple(maker for maker in makers if maker < index)

    def _find_touched(self) -> list[tuple[int, int]]:
        uses: list[list[int]] = [[] for _ in self.storages]
        for index, reads in enumerate(self.reads):
            for storage in [*(read.storage for read in reads), *self.writes[index]]:
                uses[storage].append(index)
        return [
            (
                -1 if storage.is_input and not self._feed_inputs else min(used),
                len(self.operations)
                if storage.pinned is not None and not storage.is_input
                else max(used),
            )
            for storage, used in zip(self.storages, uses, strict=True)
        ]

    def _can_be_ring(self, storage: Storage) -> bool:
        values = list(storage.offsets)
        if len({(v.rows, v.row_bytes, storage.offsets[v]) for v in values}) != 1:
            return False
        if storage.is_input:
            return self._feed_inputs and len(values) == 1
        return storage.pinned is None and all(self._makes_rows(value) for value in values)

    def _makes_rows(self, value: Value) -> bool:
        """Whether an operation makes it, and can do so row by row."""
        producer = self._producers.get(value)
        if producer is None:
            return False  # a view
        operation = self.operations[producer]
        return len(operation.outputs) == 1 and operation.operator not in WHOLE

    def _find_followers(self) -> list[tuple[int, ...]]:
        """Of each storage: operations that keep up with its other readers, as that saves memory.

        They read nothing else, and make fewer bytes than they read.
        """
        followers: list[list[int]] = [[] for _ in self.storages]
        for index, operation in enumerate(self.operations):
            values = activations(operation.inputs)
            if len(values) != 1 or self.reads[index][0].is_view:
                continue
            (read,) = self.reads[index]
            shrinks = operation.outputs[0].nbytes < values[0].nbytes
            if shrinks and self.readers[read.storage] > 1:
                followers[read.storage].append(index)
        return [tuple(found) for found in followers]

    def is_ring(self, storage: int, first: int, last: int) -> bool:
        """Whether a group of the operations from `first` up to `last` keeps it as a ring."""
        begin, end = self.touched[storage]
        return self._rings[storage] and first <= begin and end < last

    def ring_value(self, storage: int) -> Value:
        """One of the values of a storage that can be a ring; all have the same rows."""
        return next(iter(self.storages[storage].offsets))

    def heights(self, bands: int) -> list[int]:
        """Rows of a band of each operation, when its rows are cut into so many bands."""
        return [
            rows if operation.operator in WHOLE else -(-rows // bands)
            for rows, operation in zip(self.rows, self.operations, strict=True)
        ]


def group_bands(flow: Flow, first: int, last: int, heights: Sequence[int]) -> Bands:
    """Steps and rings of the group of operations from `first` up to, not including, `last`."""
    pull = Pull(flow, first, last, heights)
    rings = {
        flow.storages[storage]: min(rows, flow.ring_value(storage).rows)
        for storage, rows in enumerate(pull.held)
        if rows and flow.is_ring(storage, first, last)
    }
    return Bands([Step(*step) for step in pull.steps], rings)


class Pull:
    """The simulation of a group. Most of the time of planning is spent here.

    Attributes
    ----------
    steps : operation, first row and one past the last, in the order in which they run.
    held : the most rows of each storage that must be kept at once. It means something for those
        that `Flow.is_ring` of the group, or of a shorter one with the same last operation.
    """

    def __init__(self, flow: Flow, first: int, last: int, heights: Sequence[int]) -> None:
        self._flow = flow
        self._first = first
        self._last = last
        self._heights = heights
        self.steps: list[tuple[int, int, int]] = []
        self.held = [0] * len(flow.storages)
        self._done = [0] * last
        self._newest = [0] * len(flow.storages)
        nobody = 1 << 62  # readers that are not in the group hold nothing back
        self._fronts = [[nobody] * count for count in flow.readers]
        for index in range(first, last):
            for read in flow.reads[index]:
                self._fronts[read.storage][read.front] = 0
            self._advance(index)
        for index in [last - 1, *range(first, last - 1)]:
            self._produce(index, flow.rows[index])

    def _advance(self, index: int) -> None:
        """Note what the operation reads next."""
        done, rows = self._done[index], self._flow.rows[index]
        last = min(done + self._heights[index], rows) - 1
        for read in self._flow.reads[index]:
            if done == rows:
                self._fronts[read.storage][read.front] = read.rows
            else:
                # A row in the padding reads nothing; those after it may read what comes here.
                first = read.first[done]
                if first < read.past[last]:
                    self._fronts[read.storage][read.front] = first

    def _produce(self, index: int, wanted: int) -> None:
        """Run the operation until so many of its rows are done."""
        flow, all_done = self._flow, self._done
        height, rows, reads = self._heights[index], flow.rows[index], flow.reads[index]
        while (begin := all_done[index]) < wanted:
            # Windows ask for a row more or less than a band: one step does what is asked.
            asked = wanted - begin
            if not height <= 2 * asked < 4 * height:
                asked = height
            end = min(begin + asked, rows)
            for read in reads:
                past = read.past[end - 1]
                if read.first[begin] == past:
                    continue
                for maker in read.makers:
                    needed = flow.rows[maker] if read.is_view else past
                    if maker >= self._first and all_done[maker] < needed:
                        self._produce(maker, needed)
                if read.is_input:
                    self._hold(read.storage, read.first[begin], past)
            for follower in flow.followers[index]:
                if self._first <= follower < self._last:
                    self._consume(follower)
            if all_done[index] != begin:
                continue  # it has run meanwhile, as a follower of what was made for it
            all_done[index] = end
            for storage in flow.writes[index]:
                self._hold(storage, begin, end)
            self._advance(index)
            self.steps.append((index, begin, end))

    def _consume(self, index: int) -> None:
        """Run an operation as far as it is the last to need rows of what it reads."""
        (read,) = self._flow.reads[index]
        fronts = self._fronts[read.storage]
        rows = self._flow.rows[index]
        others = min(front for reader, front in enumerate(fronts) if reader != read.front)
        while self._done[index] < rows:
            end = min(self._done[index] + self._heights[index], rows)
            if read.past[end - 1] > min(others, self._newest[read.storage]):
                break
            self._produce(index, end)

    def _hold(self, storage: int, begin: int, end: int) -> None:
        """Rows from `begin` to `end` come, and those that are still to be read stay."""
        newest = self._newest[storage]
        if end > newest:
            self._newest[storage] = newest = end
        oldest = begin
        for front in self._fronts[storage]:  # one or two: quicker than min
            if front < oldest:
                oldest = front
        if newest - oldest > self.held[storage]:
            self.held[storage] = newest - oldest
