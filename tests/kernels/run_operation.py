"""One operation as a whole file: planned, written, loaded by the C core and run.

It is run in the ways that a plan may choose: over whole tensors, in the bytes of an operand, and
streamed through the smallest rings that hold what each band of rows needs, with guard tensors on
both sides. Every tier that this CPU supports runs it, and must give the scalar tier's bits, as must
threads that share it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import ffi, lib, text
from edgeinfer.convert.program import Buffer, Operation, Placement, Plan, Program, Step, Value
from edgeinfer.convert.write import write_model

RowRange = Callable[[int, int], tuple[int, int]]
"""Rows of an input that output rows [begin, end) read."""

_GUARD_BYTES = 64


def constant(name: str, data: np.ndarray) -> Value:
    """An operand with contents."""
    return Value(name, data.shape, data.dtype.name, data=np.ascontiguousarray(data))


def same_rows(begin: int, end: int) -> tuple[int, int]:
    """What an operator reads that makes a row of its output from that row of its input."""
    return begin, end


def all_rows(shape: tuple[int, ...]) -> RowRange:
    """What an operator reads that needs its input whole."""
    rows = Value("", shape, "int8").rows
    return lambda begin, end: (0, rows)


def check_bits(
    operation: Operation,
    inputs: list[np.ndarray],
    expected: np.ndarray,
    reads: list[RowRange],
    band: int,
    in_place: tuple[int, ...] = (),
) -> None:
    """Hold the result of every way to run against `expected`; in place over these activations.

    Plans that lack a row are refused: the device knows what a band reads as exactly as `reads`.
    """
    ways = {
        "whole": run_whole(operation, inputs),
        "streamed": run_streamed(operation, inputs, reads, band),
        # Bands begin in the middle of a ring and go on at its start.
        "streamed, a row to spare": run_streamed(operation, inputs, reads, band, spare=1),
        **{f"in place {over}": run_in_place(operation, inputs, over) for over in in_place},
    }
    for way, result in ways.items():
        assert result.dtype == expected.dtype, way
        np.testing.assert_array_equal(bits(result), bits(expected), err_msg=way)
    for i in range(len(reads)):
        late = [*reads[:i], _late_by_a_row(operation, reads[i], band), *reads[i + 1 :]]
        for planner in (_Stream(operation, late, band, 0), _Stream(operation, reads, band, 0, i)):
            file = write_model([planner.plan()], {})
            with pytest.raises(edgeinfer.EdgeInferError):
                edgeinfer.load(file)


def _late_by_a_row(operation: Operation, reads: RowRange, band: int) -> RowRange:
    """`reads`, but one of the bands that need a row for the first time is not given it."""
    bands = list(_bands(operation, band))
    ends = [0]
    for begin, end in bands:
        first, last = reads(begin, end)
        ends.append(max(ends[-1], last if last > first else 0))
    new = [i for i in range(len(bands)) if ends[i + 1] > ends[i]]
    chosen = bands[new[len(new) // 2]]

    def late(begin: int, end: int) -> tuple[int, int]:
        first, last = reads(begin, end)
        return (first, last - 1) if (begin, end) == chosen else (first, last)

    return late


def _bands(operation: Operation, band: int) -> Iterator[tuple[int, int]]:
    rows = operation.output.rows
    for begin in range(0, rows, band):
        yield begin, min(begin + band, rows)


def run_whole(operation: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    """Run an operation in one step; `inputs` are the contents of its activations, in order."""
    program, plan = plan_whole(operation)
    given = {value.name: data for value, data in zip(program.inputs, inputs, strict=True)}
    return _run_on_every_tier(program, plan, given)[operation.output.name]


def plan_whole(operation: Operation) -> tuple[Program, Plan]:
    """A program of one operation, planned as one step over whole tensors."""
    activations = _activations(operation)
    program = Program("main", activations, list(operation.outputs), [operation])
    placements = {}
    buffers: list[Buffer] = []
    offset = 0
    for value in [*activations, operation.output]:
        placements[value] = Placement(len(buffers), 0, value.rows)
        is_output = value is operation.output
        buffers.append(Buffer(value.nbytes, 0, 0, offset, not is_output, is_output))
        offset += -(-value.nbytes // 64) * 64
    steps = [Step(0, 0, operation.output.rows)]
    return program, Plan(program, [operation], buffers, placements, steps, offset, 0)


def run_in_place(operation: Operation, inputs: list[np.ndarray], over: int) -> np.ndarray:
    """Run an operation whose result lies in the bytes of activation `over`, in bands of a row."""
    activations = _activations(operation)
    output = operation.output
    sources = [_like(value, f"source of {value.name}") for value in activations]
    result = _like(output, "result")
    copies_in = [_copy(s, value) for s, value in zip(sources, activations, strict=True)]
    operations = [*copies_in, operation, _copy(output, result)]
    steps = [Step(i, 0, copy.output.rows) for i, copy in enumerate(copies_in)]
    steps += [Step(len(copies_in), row, row + 1) for row in range(output.rows)]
    steps.append(Step(len(copies_in) + 1, 0, result.rows))
    buffers: list[Buffer] = []
    placements: dict[Value, Placement] = {}
    offset = 0
    for value in [*sources, *activations, result]:
        placements[value] = Placement(len(buffers), 0, value.rows)
        is_input, is_output = value in sources, value is result
        buffers.append(Buffer(value.nbytes, 0, len(steps) - 1, offset, is_input, is_output))
        offset += -(-value.nbytes // 64) * 64
    placements[output] = placements[activations[over]]
    program = Program("main", sources, [result], operations)
    plan = Plan(program, operations, buffers, placements, steps, offset, 0)
    given = {source.name: data for source, data in zip(sources, inputs, strict=True)}
    return _run_on_every_tier(program, plan, given)[result.name]


def run_streamed(
    operation: Operation,
    inputs: list[np.ndarray],
    reads: list[RowRange],
    band: int,
    spare: int = 0,
) -> np.ndarray:
    """Run an operation in bands of `band` output rows, its activations being rings.

    Each activation is copied row by row from a graph input into the smallest ring that the bands
    allow, and the output ring is copied out after every band. Guard tensors lie before, between and
    behind the rings; the bytes of all of them are compared at the end.

    Parameters
    ----------
    inputs : contents of the activations, in order
    reads : for each of them, which rows a band of output rows reads
    band : rows of the output computed at a time
    spare : rows that each ring has beyond the smallest that is enough, so that bands wrap around
    """
    planner = _Stream(operation, reads, band, spare)
    program, plan = planner.plan()
    rng = np.random.default_rng(7)
    given = {
        value.name: rng.integers(-128, 128, value.shape).astype(value.dtype)
        for value in program.inputs
    }
    for value, data in zip(planner.sources, inputs, strict=True):
        given[value.name] = data
    results = _run_on_every_tier(program, plan, given)
    for name, result in results.items():
        if name.startswith("guard"):
            np.testing.assert_array_equal(result, given[name.removesuffix(" out")], err_msg=name)
    return results[planner.result.name]


def bits(values: np.ndarray) -> np.ndarray:
    """What to compare: floats by their bits, since zeros have signs."""
    return values.view(np.int32) if values.dtype == np.float32 else values


def supported_tiers() -> list[str]:
    """Names of the kernel tiers that this build has and this CPU supports, scalar first."""
    names = []
    index = 0
    while (name := lib().ei_tier_name(index)) != ffi.NULL:
        if lib().ei_tier_supported(name):
            names.append(text(name))
        index += 1
    return names


def _run_on_every_tier(
    program: Program, plan: Plan, given: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the scalar tier gives, once all the others have been held against it."""
    file = write_model([(program, plan)], {})
    expected: dict[str, np.ndarray] = {}
    tiers = supported_tiers()
    # Number of threads: something that follows from the file, and differs from one to the next.
    for tier, threads in [*((tier, 1) for tier in tiers), (tiers[-1], 2 + zlib.crc32(file) % 4)]:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("EDGEINFER_PART_WORK", "1")  # they share the smallest steps too
            with edgeinfer.load(file, tier=tier, threads=threads) as model:
                results = model.run(given)
        if not isinstance(results, dict):
            results = {program.outputs[0].name: results}
        if not expected:
            expected = results
            continue
        for name, result in results.items():
            message = f"{tier}, {threads} threads: {name}"
            np.testing.assert_array_equal(bits(result), bits(expected[name]), err_msg=message)
    return expected


def _activations(operation: Operation) -> list[Value]:
    return [v for v in operation.inputs if v is not None and v.data is None]


def _like(value: Value, name: str) -> Value:
    return Value(name, value.shape, value.dtype)


def _copy(source: Value, target: Value) -> Operation:
    """The same values, row by row."""
    return Operation("copy", [source], [target], {"reserved": 0}, f"copy to {target.name}")


class _Stream:
    """A program of copies around one operation, and the plan that streams it."""

    def __init__(
        self,
        operation: Operation,
        reads: list[RowRange],
        band: int,
        spare: int,
        tight: int | None = None,  # the ring that is a row too small
    ) -> None:
        self.reads = reads
        self.band = band
        self.spare = spare
        self.tight = tight
        self.operation = operation
        self.rings = _activations(operation)
        self.sources = [_like(value, f"source of {value.name}") for value in self.rings]
        self.result = _like(operation.output, "result")
        copies_in = [_copy(s, r) for s, r in zip(self.sources, self.rings, strict=True)]
        guards = range(len(self.rings) + 2)
        self.guards = [Value(f"guard {i}", (_GUARD_BYTES,), "int8") for i in guards]
        self.guard_copies = [_copy(g, _like(g, f"{g.name} out")) for g in self.guards]
        copy_out = _copy(operation.output, self.result)
        self.operations = [*copies_in, operation, copy_out, *self.guard_copies]

    def plan(self) -> tuple[Program, Plan]:
        steps: list[Step] = []
        ring_rows = [1] * len(self.rings)
        longest = [1] * len(self.rings)
        written = [0] * len(self.rings)
        main = len(self.rings)
        for begin, end in _bands(self.operation, self.band):
            for i, ring in enumerate(self.rings):
                first, last = self.reads[i](begin, end)
                if last > written[i]:
                    steps.append(Step(i, written[i], last))
                    longest[i] = max(longest[i], last - written[i])
                    written[i] = last
                if last > first:
                    # A step may overwrite only what no later band reads: count from `first`.
                    ring_rows[i] = max(ring_rows[i], written[i] - first)
                ring_rows[i] = min(max(ring_rows[i], longest[i]), ring.rows)
            steps.append(Step(main, begin, end))
            steps.append(Step(main + 1, begin, end))
        for i, ring in enumerate(self.rings):
            for row in range(written[i], ring.rows):
                steps.append(Step(i, row, row + 1))
        for i, copy in enumerate(self.guard_copies):
            steps.append(Step(main + 2 + i, 0, copy.output.rows))

        buffers: list[Buffer] = []
        placements: dict[Value, Placement] = {}
        last_step = len(steps) - 1
        offset = 0

        def place(value: Value, rows: int, *, is_input: bool = False, is_output: bool = False):
            nonlocal offset
            size = rows * value.row_bytes
            placements[value] = Placement(len(buffers), 0, rows)
            buffers.append(Buffer(size, 0, last_step, offset, is_input, is_output))
            offset += -(-size // 16) * 16

        if self.tight is not None:
            ring_rows[self.tight] -= 1
        output = self.operation.output
        place(self.guards[0], 1, is_input=True)
        for ring, rows, guard in zip(self.rings, ring_rows, self.guards[1:-1], strict=True):
            place(ring, min(rows + self.spare, ring.rows))
            place(guard, 1, is_input=True)
        place(output, min(self.band + self.spare, output.rows))
        place(self.guards[-1], 1, is_input=True)
        for source in self.sources:
            place(source, source.rows, is_input=True)
        results = [self.result, *(copy.output for copy in self.guard_copies)]
        for value in results:
            place(value, value.rows, is_output=True)

        program = Program("main", [*self.sources, *self.guards], results, self.operations)
        return program, Plan(program, self.operations, buffers, placements, steps, offset, 0)
