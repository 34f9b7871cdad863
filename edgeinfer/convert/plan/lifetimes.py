"""When the contents of each storage matter, in steps.

A storage is alive from the first step that writes any of it to the last that reads or writes any of
it, both included. A graph input is alive from step 0, because the caller fills it before the run; a
graph output until the last step, because the caller reads it afterwards. A value that nobody reads
is alive in the step that makes it.

Not exact: the bytes of a part that is no longer read stay taken as long as another part of its
storage is alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT, Layout, Storage
from edgeinfer.convert.program import Buffer, Operation, Step, Value


def activations(values: Iterable[Value | None]) -> list[Value]:
    """The operands that lie in the arena: present, and not constant; each once."""
    return list(dict.fromkeys(v for v in values if v is not None and v.data is None))


def find_lifetimes(
    layout: Layout, operations: Sequence[Operation], steps: Sequence[Step]
) -> dict[Storage, tuple[int, int]]:
    """First and last step of every storage, in order of first step."""
    last_step = max(len(steps) - 1, 0)
    found: dict[Storage, tuple[int, int]] = {
        storage: (0, 0) for storage in layout.storages() if storage.is_input
    }
    for index, step in enumerate(steps):
        operation = operations[step.operation]
        for value in activations([*operation.inputs, *operation.outputs]):
            storage = layout.storage_of[value]
            found[storage] = (found.get(storage, (index, index))[0], index)
    for storage, (first, _) in found.items():
        if storage.pinned is not None and not storage.is_input:
            found[storage] = (first, last_step)
    return found


def make_buffers(
    lifetimes: Mapping[Storage, tuple[int, int]], ring_rows: Mapping[Storage, int]
) -> list[Buffer]:
    """A buffer, not yet placed, for every storage; those in `ring_rows` hold so many rows only."""
    return [
        Buffer(
            bytes=_held_bytes(storage, ring_rows.get(storage)),
            first_step=first,
            last_step=last,
            is_input=storage.is_input,
            is_output=storage.pinned is not None and not storage.is_input,
        )
        for storage, (first, last) in lifetimes.items()
    ]


def _held_bytes(storage: Storage, ring_rows: int | None) -> int:
    if ring_rows is None:
        return storage.nbytes
    value = next(iter(storage.offsets))  # all have the same rows
    return ring_rows * value.row_bytes


def live_bytes(buffers: Sequence[Buffer], *, aligned: bool) -> list[int]:
    """Sum of the buffers alive in each step; rounded up to the alignment each, or as they are."""
    steps = max((buffer.last_step for buffer in buffers), default=0) + 1
    changes = [0] * (steps + 1)
    for buffer in buffers:
        size = align_up(buffer.bytes, ARENA_ALIGNMENT) if aligned else buffer.bytes
        changes[buffer.first_step] += size
        changes[buffer.last_step + 1] -= size
    total = 0
    sums = []
    for change in changes[:-1]:
        total += change
        sums.append(total)
    return sums
