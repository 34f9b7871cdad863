"""Proof that a plan is right, by code that shares nothing with what made it but a list of names.

The plan's steps are simulated on an arena that remembers, for every byte, which value's byte it
holds. What a value's bytes are follows from the program alone: `copy`, and `slice` and `concat`
where they take unbroken runs, say which bytes of which other value they are; the output of any
other operation is new. So the proof does not care whether an operation runs or became a view.

A plan passes when

- every operation of the program is run for all of its rows, once, or is one of the three that move
  bytes;
- each step finds the right bytes in every operand it reads, and graph outputs are right at the end;
- the rows that a step writes do not touch those that it reads, unless the operator may write in
  place and the two are the same bytes;
- each operand lies aligned inside its buffer, and the buffer's lifetime includes the step;
- buffers lie inside the arena, at multiples of 64, and those whose lifetimes meet do not overlap,
  but for those in the bytes of a whole graph input: what is written there comes after a step has
  read as far, since rows of the input may be fed as late as that;
- a graph input or output fills a buffer of its own that is marked as such, an input's buffer is
  never written by an operation, and the lifetimes reach to where the caller writes and reads.

A ring holds the last rows of one value that were written; a step finds in it those that it reads.
A graph input that is a ring is fed: right before a step, the rows up to the last that it reads.
Which rows that are is the one thing taken on trust here (`rows`); the device checks it by rules of
its own when it opens the file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.convert.plan.inplace import IN_PLACE
from edgeinfer.convert.plan.rows import own_rows_read, rows_read
from edgeinfer.convert.program import Operation, Plan, Program, Value


class PlanError(ValueError):
    """A plan breaks a rule: an error in the planner, not in the user's model."""


Run = tuple[int, int, int]
"""A run of bytes: number of the value they come from, the first one's index in it, how many."""


def verify_plan(program: Program, plan: Plan) -> None:
    """Raise PlanError unless running the plan's steps computes what the program says."""
    _verify_operations(program, plan)
    _verify_buffers(plan)
    _verify_inputs_and_outputs(program, plan)
    contents = _contents(program, plan)
    arena = _Arena()
    rings = {}
    for value in program.inputs:
        if plan.placements[value].ring_rows == value.rows:
            arena.write(_address(plan, value, 0), contents[value])
        else:
            rings[plan.placements[value].buffer] = _Fed(value)
    come = dict.fromkeys((plan.placements[value].buffer for value in program.inputs), 0)
    for index, step in enumerate(plan.steps):
        operation = plan.operations[step.operation]
        where = f"step {index}, {operation.name!r} ({operation.operator})"
        _verify_operands(plan, index, operation, where)
        reads = [
            (value, rows_read(operation, value, step.row_begin, step.row_end))
            for value in _arena_operands(operation.inputs)
        ]
        for value, (first, last) in reads:
            place = plan.placements[value]
            if first < last and place.buffer in come:
                end = place.offset + last * value.row_bytes
                come[place.buffer] = max(come[place.buffer], end)
            fed = rings.get(plan.placements[value].buffer)
            if fed is None or first == last:
                continue
            end = plan.placements[value].offset + last * value.row_bytes
            for row in fed.until(-(-end // fed.value.row_bytes)):
                for address, begin, size in _places(plan, fed.value, index, (row, row + 1)):
                    arena.write(address, _part(contents[fed.value], begin, size))
        reads.append((operation.outputs[0], own_rows_read(operation, step.row_begin)))
        for value, rows in reads:
            for address, begin, size in _places(plan, value, index, rows):
                _require(
                    arena.read(address, size) == _joined(_part(contents[value], begin, size)),
                    f"{where} reads {value.name!r}, whose bytes are not there",
                )
        for number, value in enumerate(operation.outputs):
            rows = (step.row_begin, step.row_end) if number == 0 else (0, value.rows)
            for address, begin, size in _places(plan, value, index, rows):
                _verify_inputs_have_come(plan, index, come, (address, address + size), where)
                arena.write(address, _part(contents[value], begin, size))
    for value in program.outputs:
        found = arena.read(_address(plan, value, len(plan.steps) - 1), value.nbytes)
        _require(
            found == _joined(contents[value]),
            f"graph output {value.name!r} is not there after the last step",
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise PlanError(message)


def _arena_operands(values: Sequence[Value | None]) -> list[Value]:
    return [value for value in values if value is not None and value.data is None]


# --- what must hold at any time


def _verify_operations(program: Program, plan: Plan) -> None:
    planned = set(plan.operations)
    known = set(program.operations)
    _require(len(planned) == len(plan.operations), "an operation is listed twice")
    for operation in program.operations:
        _require(
            operation in planned or _moved_bytes(operation) is not None,
            f"{operation.name!r} ({operation.operator}) is not run",
        )
    for operation in plan.operations:
        _require(
            operation in known or operation.operator == "copy",
            f"{operation.name!r} ({operation.operator}) is not of the program",
        )
    rows_done = [0] * len(plan.operations)
    for index, step in enumerate(plan.steps):
        _require(0 <= step.operation < len(plan.operations), f"step {index} runs no operation")
        _require(
            step.row_begin == rows_done[step.operation] < step.row_end,
            f"step {index} runs rows {step.row_begin} to {step.row_end} out of order",
        )
        rows_done[step.operation] = step.row_end
    for operation, rows in zip(plan.operations, rows_done, strict=True):
        _require(
            rows == operation.outputs[0].rows,
            f"{operation.name!r} is run for {rows} of {operation.outputs[0].rows} rows",
        )


def _verify_buffers(plan: Plan) -> None:
    last_step = max(len(plan.steps) - 1, 0)
    for index, buffer in enumerate(plan.buffers):
        _require(
            buffer.offset >= 0
            and buffer.offset % 64 == 0
            and buffer.bytes > 0
            and buffer.offset + buffer.bytes <= plan.arena_bytes,
            f"buffer {index}, {buffer.bytes} bytes at {buffer.offset}, is misplaced",
        )
        _require(
            0 <= buffer.first_step <= buffer.last_step <= last_step,
            f"buffer {index} lives from step {buffer.first_step} to {buffer.last_step}",
        )
    rings = {p.buffer for value, p in plan.placements.items() if p.ring_rows != value.rows}
    for index, a in enumerate(plan.buffers):
        for other, b in enumerate(plan.buffers[:index]):
            if a.is_input != b.is_input and (index if a.is_input else other) not in rings:
                continue
            apart_in_time = a.last_step < b.first_step or b.last_step < a.first_step
            apart_in_space = a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset
            _require(apart_in_time or apart_in_space, f"buffers {other} and {index} overlap")
    ends = [buffer.offset + buffer.bytes for buffer in plan.buffers]
    _require(plan.arena_bytes == max(ends, default=0), "the arena does not end with a buffer")
    _require(0 <= plan.peak_step <= last_step, f"peak step {plan.peak_step}")


def _verify_inputs_and_outputs(program: Program, plan: Plan) -> None:
    owners: dict[int, Value] = {}
    for value in [*program.inputs, *program.outputs]:
        placement = plan.placements[value]
        buffer = plan.buffers[placement.buffer]
        is_input = value in program.inputs
        _require(placement.buffer not in owners, f"{value.name!r} shares its buffer")
        _require(
            (placement.offset, _held_bytes(plan, value)) == (0, buffer.bytes)
            and (is_input or placement.ring_rows == value.rows),
            f"{value.name!r} does not fill its buffer",
        )
        _require(
            (buffer.is_input, buffer.is_output) == (is_input, not is_input),
            f"the buffer of {value.name!r} is marked wrongly",
        )
        if is_input:
            _require(buffer.first_step == 0, f"{value.name!r} is alive too late for the caller")
        else:
            _require(
                buffer.last_step == max(len(plan.steps) - 1, 0),
                f"{value.name!r} dies before the caller reads it",
            )
        owners[placement.buffer] = value
    marked = [i for i, buffer in enumerate(plan.buffers) if buffer.is_input or buffer.is_output]
    _require(set(marked) == set(owners), "a buffer is marked as input or output without being one")
    for operation in plan.operations:
        for value in operation.outputs:
            buffer = plan.buffers[plan.placements[value].buffer]
            _require(not buffer.is_input, f"{operation.name!r} writes into a graph input")


# --- what must hold in a step


def _address(plan: Plan, value: Value, index: int) -> int:
    placement = plan.placements[value]
    buffer = plan.buffers[placement.buffer]
    itemsize = np.dtype(value.dtype).itemsize
    _require(
        placement.offset >= 0
        and placement.offset % itemsize == 0
        and placement.offset + _held_bytes(plan, value) <= buffer.bytes,
        f"{value.name!r} at {placement.offset} is misaligned or leaves its buffer",
    )
    _require(
        0 < placement.ring_rows <= value.rows,
        f"{value.name!r} of {value.rows} rows is a ring of {placement.ring_rows}",
    )
    _require(
        buffer.first_step <= index <= buffer.last_step,
        f"{value.name!r} is used in step {index}, when its buffer is not alive",
    )
    return buffer.offset + placement.offset


def _held_bytes(plan: Plan, value: Value) -> int:
    return plan.placements[value].ring_rows * value.row_bytes


def _places(
    plan: Plan, value: Value, index: int, rows: tuple[int, int]
) -> list[tuple[int, int, int]]:
    """Where rows of a value lie: (address, index in the value of the first byte, bytes)."""
    ring = plan.placements[value].ring_rows
    address = _address(plan, value, index)
    row, end = rows
    _require(end - row <= ring, f"{value.name!r}: rows {row} to {end} of a ring of {ring}")
    places = []
    while row < end:
        count = min(end - row, ring - row % ring)
        begin = row % ring * value.row_bytes
        places.append((address + begin, row * value.row_bytes, count * value.row_bytes))
        row += count
    return places


def _verify_operands(plan: Plan, index: int, operation: Operation, where: str) -> None:
    step = plan.steps[index]
    band = step.row_begin, step.row_end
    written: list[tuple[int, int]] = []
    for number, value in enumerate(operation.outputs):
        rows = band if number == 0 else (0, value.rows)
        places = [(at, at + size) for at, _, size in _places(plan, value, index, rows)]
        for begin, end in places:
            _require(
                all(end <= low or high <= begin for low, high in written),
                f"{where}: its outputs overlap",
            )
        written += places
    for value in _arena_operands(operation.inputs):
        rows = rows_read(operation, value, *band)
        in_place = (
            rows == band  # else it reads what it has written
            and plan.placements[value] == plan.placements[operation.outputs[0]]
            and operation.operator in IN_PLACE
            and value.shape == operation.output.shape
            and value.row_bytes == operation.output.row_bytes
        )
        _require(
            in_place
            or all(
                at + size <= low or high <= at
                for at, _, size in _places(plan, value, index, rows)
                for low, high in written
            ),
            f"{where} writes over {value.name!r} while reading it",
        )


def _verify_inputs_have_come(
    plan: Plan, index: int, come: dict[int, int], written: tuple[int, int], where: str
) -> None:
    """Bytes that a step writes lie in no graph input, or in what others have read of it."""
    for number, nbytes in come.items():
        buffer = plan.buffers[number]
        begin = max(written[0], buffer.offset)
        end = min(written[1], buffer.offset + buffer.bytes)
        _require(
            begin >= end or index > buffer.last_step or end <= buffer.offset + nbytes,
            f"{where} writes over bytes of a graph input that may still come",
        )


# --- whose bytes are whose


def _moved_bytes(operation: Operation) -> list[tuple[Value, int, int]] | None:
    """(input, first byte, bytes) of the runs that the output consists of; None when computed."""
    output = operation.outputs[0]
    if operation.operator == "copy":
        return [(value, 0, value.nbytes) for value in operation.inputs if value is not None]
    if operation.operator == "concat":
        if np.prod(output.shape[: int(operation.params["axis"])], dtype=np.int64) != 1:
            return None
        return [(value, 0, value.nbytes) for value in operation.inputs if value is not None]
    if operation.operator == "slice":
        (x,) = operation.inputs
        assert x is not None
        # First and last element; between them are as many as the output has if they are one run.
        axes = range(len(x.shape))
        begin = [int(operation.params[f"begin_{axis}"]) for axis in axes]
        stride = [int(operation.params[f"stride_{axis}"]) for axis in axes]
        last = [begin[axis] + (output.shape[axis] - 1) * stride[axis] for axis in axes]
        if any(stride[axis] < 1 and output.shape[axis] > 1 for axis in axes):
            return None
        low = high = 0
        if x.shape:
            low = int(np.ravel_multi_index(tuple(begin), x.shape))
            high = int(np.ravel_multi_index(tuple(last), x.shape))
        itemsize = np.dtype(x.dtype).itemsize
        if (high + 1 - low) * itemsize != output.nbytes:
            return None
        return [(x, low * itemsize, output.nbytes)]
    return None


def _contents(program: Program, plan: Plan) -> dict[Value, list[Run]]:
    """The bytes of every value, as runs of the values that were computed or given."""
    contents: dict[Value, list[Run]] = {}
    known = set(program.operations)
    added = [operation for operation in plan.operations if operation not in known]
    for value in program.inputs:
        contents[value] = [(len(contents), 0, value.nbytes)]
    for operation in [*program.operations, *added]:
        for operand in operation.inputs:
            if operand is not None and operand.data is not None and operand not in contents:
                contents[operand] = [(len(contents), 0, operand.nbytes)]
        moved = _moved_bytes(operation)
        for value in operation.outputs:
            _require(value not in contents, f"{value.name!r} is made twice")
            if moved is None:
                contents[value] = [(len(contents), 0, value.nbytes)]
            else:
                contents[value] = [
                    run
                    for source, begin, size in moved
                    for run in _part(contents[source], begin, size)
                ]
                _require(
                    sum(size for _, _, size in contents[value]) == value.nbytes,
                    f"{operation.name!r}: the inputs do not fill the output",
                )
    return contents


def _part(runs: list[Run], begin: int, size: int) -> list[Run]:
    """Bytes begin to begin + size of what the runs hold."""
    found = []
    position = 0
    for source, first, length in runs:
        low, high = max(begin, position), min(begin + size, position + length)
        if low < high:
            found.append((source, first + low - position, high - low))
        position += length
    return found


def _joined(runs: list[Run]) -> list[Run]:
    """The same bytes in as few runs as possible."""
    joined: list[Run] = []
    for source, first, length in runs:
        if joined and joined[-1][0] == source and sum(joined[-1][1:]) == first:
            joined[-1] = (source, joined[-1][1], joined[-1][2] + length)
        else:
            joined.append((source, first, length))
    return joined


class _Fed:
    """A graph input that comes by rows."""

    def __init__(self, value: Value) -> None:
        self.value = value
        self.rows = 0

    def until(self, end: int) -> range:
        """The rows that are still to come for those before `end` to be there."""
        rows = range(self.rows, end)
        self.rows = max(self.rows, end)
        return rows


class _Arena:
    """Which value's bytes lie where: (address, run), ascending and without overlap."""

    def __init__(self) -> None:
        self.held: list[tuple[int, Run]] = []

    def write(self, address: int, runs: list[Run]) -> None:
        """Put the runs at the address, over what was there."""
        end = address + sum(size for _, _, size in runs)
        kept = []
        for at, (source, first, size) in self.held:
            if at < address:
                kept.append((at, (source, first, min(size, address - at))))
            if at + size > end:
                cut = max(end - at, 0)
                kept.append((at + cut, (source, first + cut, size - cut)))
        for run in runs:
            kept.append((address, run))
            address += run[2]
        self.held = sorted(kept)

    def read(self, address: int, size: int) -> list[Run] | None:
        """What lies there, in as few runs as possible; None when some of it was never written."""
        found: list[Run] = []
        position = address
        for at, (source, first, length) in self.held:
            low, high = max(at, address), min(at + length, address + size)
            if low < high:
                if low != position:
                    return None
                found.append((source, first + low - at, high - low))
                position = high
        return _joined(found) if position == address + size else None
