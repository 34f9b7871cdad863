"""Results written over operands that nobody needs any longer.

An operator that reads each element before it writes the same one may put its output into the very
bytes of an input. That saves the output's bytes in the step where both would be alive, and keeps
the data in cache.

Algorithm. Steps are visited in order. The output takes over the bytes of an input when

- the operator allows it, and shape and element size are the same;
- this step is the last that reads these bytes, under whatever name, and reads them only as this
  very value: a shifted or broadcast view of them would be overwritten before it is read;
- the input's storage is not a graph input's, which only the caller may write;
- after the two storages are merged at that place, results that share bytes share all of theirs and
  take turns (the device checks plans by whole results), and the rules of views about pinned
  storages and alignment still hold;
- the largest sum of live bytes does not rise: merging keeps both storages alive for their joint
  lifetime, which costs memory when one of them is larger than the value.

Of several such inputs the one that leaves the fewest live bytes at the steps concerned wins, then
the first.

Not guaranteed: the best set of merges. One that is taken may exclude a later one. A slice is never
written in place: it is a part of a larger result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.lifetimes import activations, find_lifetimes
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT, Layout, Storage
from edgeinfer.convert.program import Operation, Step, Value

IN_PLACE = frozenset(
    {
        "add",
        "mul",
        "maximum",
        "minimum",
        "lut8",
        "lut16",
        "requantize",
        "softmax",
        "binary_f32",
        "unary_f32",
        "softmax_f32",
        "layer_norm_f32",
        "unary_int",
        "cumsum",
    }
)
"""Operators whose output may lie in the bytes of an input: those with `in_place` in csrc/ops.

`copy` has it too, but a copy that could run in place is a view.
"""


def may_overwrite(operation: Operation, value: Value) -> bool:
    """Whether the operator may write its output over this input, if both lie at the same place."""
    output = operation.outputs[0]
    return (
        operation.operator in IN_PLACE
        and value.shape == output.shape
        and np.dtype(value.dtype).itemsize == np.dtype(output.dtype).itemsize
    )


def merge_in_place(layout: Layout, operations: Sequence[Operation], steps: Sequence[Step]) -> None:
    """Let outputs take over the bytes of inputs where that is safe and does not raise the peak."""
    state = _State(layout, operations, steps)
    for index, step in enumerate(steps):
        operation = operations[step.operation]
        if (step.row_begin, step.row_end) != (0, operation.outputs[0].rows):
            continue
        choices = [
            merge
            for value in activations(operation.inputs)
            if may_overwrite(operation, value)
            and (merge := state.possible_merge(index, operation, value)) is not None
        ]
        if choices:
            state.apply(min(choices, key=lambda merge: merge.live_bytes))


def merge_chains(layout: Layout, operations: Sequence[Operation]) -> None:
    """Let outputs take over the bytes of inputs that no other operation reads.

    That is safe by bands of rows too, in whatever order operations take turns: each row is
    overwritten by the one operation that was to read it.
    """
    readers: dict[Value, list[int]] = {}
    for index, operation in enumerate(operations):
        for value in activations(operation.inputs):
            readers.setdefault(value, []).append(index)
    made = {value for operation in operations for value in operation.outputs}
    chains = {s for s in layout.storages() if len(s.offsets) == 1 and not s.is_input}
    for index, operation in enumerate(operations):
        for value in activations(operation.inputs):
            into, other = layout.storage_of[value], layout.storage_of[operation.outputs[0]]
            shift = into.offsets[value] - other.offsets[operation.outputs[0]]
            if (
                may_overwrite(operation, value)
                and readers[value] == [index]
                and value in made
                and into in chains
                and into.pinned is None  # the caller reads a graph output later
                and other in chains
                and into is not other
                and layout.can_merge(into, other, shift)
            ):
                layout.merge(into, other, shift)
                break


@dataclass(frozen=True)
class _Use:
    """A range of a storage that one operation writes, when, and when any of it is last needed."""

    value: Value
    begin: int
    end: int
    written: int
    last_needed: int

    def moved(self, shift: int) -> _Use:
        """The same use after its storage has moved."""
        return replace(self, begin=self.begin + shift, end=self.end + shift)


@dataclass(frozen=True)
class _Merge:
    into: Storage
    other: Storage
    shift: int
    first: int
    last: int
    nbytes: int
    live_bytes: int  # summed over the steps concerned


class _State:
    """Uses and lifetimes of the storages, kept true while storages merge."""

    def __init__(
        self, layout: Layout, operations: Sequence[Operation], steps: Sequence[Step]
    ) -> None:
        self.layout = layout
        self.lifetimes = find_lifetimes(layout, operations, steps)
        self.uses: dict[Storage, list[_Use]] = {}
        self.live = np.zeros(max(len(steps), 1), np.int64)
        for storage, (first, last) in self.lifetimes.items():
            self.live[first : last + 1] += align_up(storage.nbytes, ARENA_ALIGNMENT)
        self._collect_uses(operations, steps)

    def _collect_uses(self, operations: Sequence[Operation], steps: Sequence[Step]) -> None:
        written: dict[Value, int] = {}
        read: dict[Storage, dict[Value, int]] = {}
        for index, step in enumerate(steps):
            operation = operations[step.operation]
            for value in activations(operation.inputs):
                read.setdefault(self.layout.storage_of[value], {})[value] = index
            for value in operation.outputs:
                written.setdefault(value, index)
        for storage in self.lifetimes:
            reads = [(*storage.span(value), step) for value, step in read.get(storage, {}).items()]
            if storage.pinned is not None and not storage.is_input:
                reads.append((*storage.span(storage.pinned), len(steps)))  # by the caller
            self.uses[storage] = []
            for value, (begin, end) in storage.written.items():
                first = written.get(value, 0)
                last = [step for low, high, step in reads if low < end and begin < high]
                self.uses[storage].append(_Use(value, begin, end, first, max([first, *last])))

    def possible_merge(self, index: int, operation: Operation, value: Value) -> _Merge | None:
        """How the output of step `index` would take over `value`, or None when it must not."""
        output = operation.output
        into, other = self.layout.storage_of[value], self.layout.storage_of[output]
        if into is other or into.is_input:
            return None
        shift = into.offsets[value] - other.offsets[output]
        if not self.layout.can_merge(into, other, shift):
            return None
        begin, end = into.span(value)
        for operand in activations(operation.inputs):
            if self.layout.storage_of[operand] is into:
                low, high = into.span(operand)
                same = (low, high) == (begin, end) and may_overwrite(operation, operand)
                if low < end and begin < high and not same:
                    return None
        moved = [use.moved(shift) for use in self.uses[other]]
        if any(
            not _take_turns(mine, theirs, index, output)
            for mine in self.uses[into]
            for theirs in moved
        ):
            return None
        return self._within_peak(into, other, shift)

    def _within_peak(self, into: Storage, other: Storage, shift: int) -> _Merge | None:
        lifetimes = [self.lifetimes[into], self.lifetimes[other]]
        first = min(start for start, _ in lifetimes)
        last = max(stop for _, stop in lifetimes)
        low = min(into.begin, other.begin + shift)
        nbytes = max(into.end, other.end + shift) - low
        live = self.live[first : last + 1] + align_up(nbytes, ARENA_ALIGNMENT)
        for storage, (start, stop) in zip((into, other), lifetimes, strict=True):
            live[start - first : stop + 1 - first] -= align_up(storage.nbytes, ARENA_ALIGNMENT)
        if live.max() > self.live.max():
            return None
        saved = int(live.sum() - self.live[first : last + 1].sum())
        return _Merge(into, other, shift, first, last, nbytes, saved)

    def apply(self, merge: _Merge) -> None:
        """Carry it out."""
        for storage in (merge.into, merge.other):
            start, stop = self.lifetimes.pop(storage)
            self.live[start : stop + 1] -= align_up(storage.nbytes, ARENA_ALIGNMENT)
        self.live[merge.first : merge.last + 1] += align_up(merge.nbytes, ARENA_ALIGNMENT)
        self.lifetimes[merge.into] = (merge.first, merge.last)
        self.uses[merge.into] += [use.moved(merge.shift) for use in self.uses.pop(merge.other)]
        self.layout.merge(merge.into, merge.other, merge.shift)


def _take_turns(mine: _Use, theirs: _Use, index: int, output: Value) -> bool:
    """Whether two uses of the merged storage never need the same byte at the same time.

    The one exception is the output of step `index`, written over what that step reads last.
    """
    if mine.end <= theirs.begin or theirs.end <= mine.begin:
        return True
    if (mine.begin, mine.end) != (theirs.begin, theirs.end):
        return False
    if theirs.value is output and theirs.written == index and mine.last_needed <= index:
        return True
    return mine.last_needed < theirs.written or theirs.last_needed < mine.written
