"""Values that share bytes because one is a piece of another, or the same bytes under another shape.

Three operators only move bytes, and often need not be run at all:

- `copy` (reshape and its relatives): the output is the input, at the same place.
- `slice`, when the result is one unbroken run of its input's bytes: the output lies inside it.
- `concat` along an axis before which every dimension is 1: the inputs are consecutive runs of the
  output, so their producers can write straight into it. An input that cannot lie there (a constant,
  a graph input, a value that already lies elsewhere) is copied into its place by an operation
  `copy` that is added; when that is so for every input, the concat stays as it is.

Algorithm. Every value starts in a `Storage` of its own. Operations are visited in order; one of the
three merges the storages of its operands, at the distance that makes the bytes coincide, unless
that breaks a rule:

- Two operations never write the same byte of a storage (reuse over time comes later, in `inplace`
  and `offsets`), so every byte has one meaning for as long as the storage lives.
- A graph input or output fills its storage from the first byte to the last, and no storage holds
  two of them: the runtime puts the caller's memory in their place. Nobody writes into a graph
  input, which follows, since the caller wrote all of it.
- Every value stays aligned to its element.

Not guaranteed: that sharing is best. A view keeps all of its storage alive, so a small slice that
is read late may hold a large tensor in memory. `planner` therefore tries to undo views
(`materialized`) where memory peaks. First come, first served: a value that two concats want goes to
the first one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgeinfer.convert.program import Operation, Program, Value

ARENA_ALIGNMENT = 64
"""Storages begin at multiples of this: a cache line, the widest vector register, a weight tile."""

MAX_PARTS = 4096
"""Ranges of one storage that operations may write: EI_MAX_SLOTS of the file format."""

Operand = tuple[Operation, int]
"""An operation and the index of one of its inputs."""


@dataclass(eq=False)
class Storage:
    """Bytes that values share. Offsets count from an arbitrary origin until `Layout` is done.

    `written` are the ranges that operations, or the caller, fill. `pinned` is the graph input or
    output that the storage belongs to.
    """

    offsets: dict[Value, int]
    written: dict[Value, tuple[int, int]] = field(default_factory=dict)
    pinned: Value | None = None
    is_input: bool = False

    @property
    def begin(self) -> int:
        """First byte in use."""
        return min(self.offsets.values())

    @property
    def end(self) -> int:
        """One past the last byte in use."""
        return max(offset + value.nbytes for value, offset in self.offsets.items())

    @property
    def nbytes(self) -> int:
        """Bytes from the first to the last one in use."""
        return self.end - self.begin

    def span(self, value: Value) -> tuple[int, int]:
        """First byte of a value and one past its last."""
        offset = self.offsets[value]
        return offset, offset + value.nbytes


@dataclass(eq=False)
class Layout:
    """Which operations are left to run, and which values share storage."""

    operations: list[Operation]
    storage_of: dict[Value, Storage]
    viewed: list[Operand]  # operands of slice and concat that became views: what may be undone

    def storages(self) -> list[Storage]:
        """Every storage once, in order of first use."""
        return list(dict.fromkeys(self.storage_of.values()))

    def can_merge(self, into: Storage, other: Storage, shift: int) -> bool:
        """Whether `other`, moved by `shift` bytes, may join `into`; bytes written twice aside."""
        if into.pinned is not None and other.pinned is not None:
            return False
        begin = min(into.begin, other.begin + shift)
        end = max(into.end, other.end + shift)
        pinned = into.pinned or other.pinned
        if pinned is not None and end - begin != pinned.nbytes:
            return False
        if len(into.written) + len(other.written) > MAX_PARTS:
            return False
        # The caller's memory is aligned to the elements of its own array only.
        widest = ARENA_ALIGNMENT if pinned is None else np.dtype(pinned.dtype).itemsize
        return all(
            widest % (itemsize := np.dtype(value.dtype).itemsize) == 0
            and (offset + moved - begin) % itemsize == 0
            for storage, moved in ((into, 0), (other, shift))
            for value, offset in storage.offsets.items()
        )

    def merge(self, into: Storage, other: Storage, shift: int) -> None:
        """Move everything from `other` into `into`."""
        for value, offset in other.offsets.items():
            into.offsets[value] = offset + shift
            self.storage_of[value] = into
        for value, (begin, end) in other.written.items():
            into.written[value] = (begin + shift, end + shift)
        into.pinned = into.pinned or other.pinned
        into.is_input = into.is_input or other.is_input


def share_views(program: Program, materialized: frozenset[Operand] = frozenset()) -> Layout:
    """Find the operations that need not run; those in `materialized` are not to become views."""
    layout = Layout([], {}, [])
    for value in program.inputs:
        _add(layout, value, written=True, pinned=True)
        layout.storage_of[value].is_input = True
    outputs = set(program.outputs)
    for operation in program.operations:
        for value in operation.outputs:
            _add(layout, value, written=False, pinned=value in outputs)
        left = _run_or_view(layout, operation, materialized)
        for kept in left:
            for value in kept.outputs:
                storage = layout.storage_of[value]
                storage.written[value] = storage.span(value)
        layout.operations += left
    return layout


def contiguous_offset(operation: Operation) -> int | None:
    """Byte offset at which a slice's result lies in its input, or None when it is not one run."""
    x, y = operation.inputs[0], operation.output
    assert x is not None
    offset, step = 0, np.dtype(x.dtype).itemsize
    whole = True  # whether the axes behind this one are taken whole
    for axis in reversed(range(len(x.shape))):
        begin = int(operation.params[f"begin_{axis}"])
        if y.shape[axis] != 1 and (not whole or operation.params[f"stride_{axis}"] != 1):
            return None
        whole = whole and y.shape[axis] == x.shape[axis]
        offset += begin * step
        step *= x.shape[axis]
    return offset


def joins_consecutive_runs(operation: Operation) -> bool:
    """Whether the inputs of a concat are consecutive runs of its output's bytes."""
    axis = int(operation.params["axis"])
    return all(dim == 1 for dim in operation.output.shape[:axis])


def _add(layout: Layout, value: Value, *, written: bool, pinned: bool) -> None:
    storage = Storage({value: 0}, pinned=value if pinned else None)
    if written:
        storage.written[value] = (0, value.nbytes)
    layout.storage_of[value] = storage


def _run_or_view(
    layout: Layout, operation: Operation, materialized: frozenset[Operand]
) -> list[Operation]:
    """What is left to run of the operation: itself, nothing, or copies into its output."""
    if operation.operator == "concat" and joins_consecutive_runs(operation):
        return _concat(layout, operation, materialized)
    offset: int | None = None
    if operation.operator == "copy":
        offset = 0
    elif operation.operator == "slice":
        offset = contiguous_offset(operation)
    if offset is None or (operation, 0) in materialized:
        return [operation]
    if not _join(layout, operation.output, operation.inputs[0], -offset):
        return [operation]
    if operation.operator == "slice":
        layout.viewed.append((operation, 0))
    return []


def _concat(
    layout: Layout, operation: Operation, materialized: frozenset[Operand]
) -> list[Operation]:
    output = operation.output
    copies = []
    offset = 0
    for index, value in enumerate(operation.inputs):
        assert value is not None
        if (
            (operation, index) not in materialized
            and _leaves_room(layout, output, value, offset)
            and _join(layout, output, value, offset)
        ):
            layout.viewed.append((operation, index))
        else:
            piece = Value(
                f"{output.name}[{index}]", value.shape, value.dtype, value.scale, value.zero_point
            )
            copies.append((piece, offset, Operation("copy", [value], [piece], {"reserved": 0})))
        offset += value.nbytes
    if len(copies) == len(operation.inputs):
        return [operation]
    for piece, offset, copy in copies:
        copy.name = operation.name
        storage = layout.storage_of[output]
        storage.offsets[piece] = storage.offsets[output] + offset
        layout.storage_of[piece] = storage
    return [copy for _, _, copy in copies]


def _leaves_room(layout: Layout, whole: Value, part: Value, offset: int) -> bool:
    """Whether nothing that shares storage with `part` lies where other parts of `whole` belong."""
    if part.data is not None or layout.storage_of[part] is layout.storage_of[whole]:
        return True
    storage = layout.storage_of[part]
    begin, end = storage.span(part)
    first, last = begin - offset, begin - offset + whole.nbytes
    return all(
        max(low, first) >= begin and min(high, last) <= end
        for low, high in storage.written.values()
        if low < last and first < high
    )


def _join(layout: Layout, whole: Value, part: Value | None, offset: int) -> bool:
    """Make `part` lie `offset` bytes into `whole`; False when a rule is against it."""
    if part is None or part.data is not None:
        return False
    into, other = layout.storage_of[part], layout.storage_of[whole]
    shift = into.offsets[part] - offset - other.offsets[whole]
    if into is other:
        return shift == 0
    written_twice = any(
        begin < other_end + shift and other_begin + shift < end
        for begin, end in into.written.values()
        for other_begin, other_end in other.written.values()
    )
    if written_twice or not layout.can_merge(into, other, shift):
        return False
    layout.merge(into, other, shift)
    return True
