"""One operation as a whole file: planned, written, loaded by the C core and run.

It is run in the ways that a plan may choose: over whole tensors, in the bytes of an operand, over
rows of one that are no longer read, and streamed through the smallest rings that hold what each
band of rows needs, among bytes that must stay as they are. Every tier that this CPU supports runs
it, and must give the scalar tier's bits, as must threads that share it.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import ffi, lib, text
from edgeinfer.convert.program import Buffer, Operation, Placement, Plan, Program, Step, Value
from edgeinfer.convert.write import write_model
from edgeinfer.session import Session, SessionOptions

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
    *,
    in_bands: bool = True,
) -> None:
    """Hold the result of every way to run against `expected`; in place over these activations.

    Plans that lack a row are refused: the device knows what a band reads as exactly as `reads`.
    Without `in_bands` it is run whole and in place only, shared by threads as ever.
    """
    ways: dict[str, np.ndarray | None] = {
        "whole": run_whole(operation, inputs),
        **{f"in place {over}": run_in_place(operation, inputs, over) for over in in_place},
    }
    if not in_bands:
        _check_ways(ways, expected)
        return
    reads = [functools.cache(read) for read in reads]
    ways |= {
        "streamed": run_streamed(operation, inputs, reads, band),
        # Bands begin in the middle of a ring and go on at its start.
        "streamed, a row to spare": run_streamed(operation, inputs, reads, band, spare=1),
        "over dead rows": run_over_dead_rows(operation, inputs, reads, band),
    }
    _check_ways(ways, expected)
    for i in range(len(reads)):
        late = [*reads[:i], _late_by_a_row(operation, reads[i], band), *reads[i + 1 :]]
        for planner in (_Stream(operation, late, band, 0), _Stream(operation, reads, band, 0, i)):
            file = write_model([planner.plan()], {})
            with pytest.raises(edgeinfer.EdgeInferError):
                edgeinfer.load(file)


def check_in_bands(
    operation: Operation,
    inputs: list[np.ndarray],
    expected: np.ndarray,
    reads: list[RowRange],
    band: int,
    spare: int,
) -> None:
    """Hold the result of each way but in place against `expected`, as `run_streamed` has them."""
    streamed = f"in bands of {band}, rings with {spare} spare rows"
    ways = {
        "whole": run_whole(operation, inputs),
        streamed: run_streamed(operation, inputs, reads, band, spare),
        f"over dead rows, in bands of {band}": run_over_dead_rows(operation, inputs, reads, band),
    }
    _check_ways(ways, expected)


def _check_ways(ways: dict[str, np.ndarray | None], expected: np.ndarray) -> None:
    for way, result in ways.items():
        if result is not None:
            assert result.dtype == expected.dtype, way
            np.testing.assert_array_equal(bits(result), bits(expected), err_msg=way)


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


def run_over_dead_rows(
    operation: Operation,
    inputs: list[np.ndarray],
    reads: list[RowRange],
    band: int,
) -> np.ndarray | None:
    """Run an operation whose result grows over the rows of its first activation that are read.

    The result begins so far below it that its bands just miss the rows that are still to be read: a
    byte beyond a band is one of these. None where no row is free before the last band.
    """
    activations = _activations(operation)
    if not activations:
        return None
    x, y = activations[0], operation.output
    bands = list(_bands(operation, band))
    distance, wanted = 0, x.rows  # from the end: rows from `wanted` on are read by later bands
    for begin, end in reversed(bands):
        first, last = reads[0](begin, end)
        if last > first:
            wanted = min(wanted, first)
        if wanted < x.rows:
            distance = max(distance, end * y.row_bytes - wanted * x.row_bytes)
    element = np.dtype(x.dtype).itemsize
    distance = -(-distance // element) * element
    if distance >= y.nbytes:
        return None

    source, result = _like(x, f"source of {x.name}"), _like(y, "result")
    operations = [_copy(source, x), operation, _copy(y, result)]
    steps = [Step(0, 0, x.rows), *(Step(1, begin, end) for begin, end in bands)]
    steps.append(Step(2, 0, y.rows))
    shared = Buffer(max(y.nbytes, distance + x.nbytes), 0, len(steps) - 1, 0, False, False)
    placements = {y: Placement(0, 0, y.rows), x: Placement(0, distance, x.rows)}
    buffers = [shared]
    offset = -(-shared.bytes // 64) * 64
    for value in [source, *activations[1:], result]:
        placements[value] = Placement(len(buffers), 0, value.rows)
        is_output = value is result
        buffers.append(Buffer(value.nbytes, 0, len(steps) - 1, offset, not is_output, is_output))
        offset += -(-value.nbytes // 64) * 64
    program = Program("main", [source, *activations[1:]], [result], operations)
    plan = Plan(program, operations, buffers, placements, steps, offset, 0)
    given = {value.name: data for value, data in zip(program.inputs, inputs, strict=True)}
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
    allow, and the output ring is copied out. Guards lie before, between and behind the rings, byte
    by byte beside them. With rows to spare, each row of the output ring is left where it is until
    its place is needed, and a place that had none yet holds a pattern until then. The bytes of all
    of these are compared at the end: an operator that stores beyond its band changes some.

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
    for source, kept in planner.kept.items():
        for value in kept:
            np.testing.assert_array_equal(
                results[value.name], given[source.name], err_msg=value.name
            )
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
    scalar, *tiers = supported_tiers()
    # Number of threads: something that follows from the file, and differs from one to the next.
    shared = SessionOptions(tier=[scalar, *tiers][-1], threads=2 + zlib.crc32(file) % 4)
    names = [value.name for value in program.outputs]

    def named(results: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return results if isinstance(results, dict) else {names[0]: results}

    with pytest.MonkeyPatch.context() as environment, edgeinfer.load(file, tier=scalar) as model:
        environment.setenv("EDGEINFER_PART_WORK", "1")  # threads share the smallest steps too
        expected = named(model.run(given))
        for options in [*(SessionOptions(tier=tier) for tier in tiers), shared]:
            session = Session(model._open(), options)
            results = named(session.run(given))
            session.close()
            for name in names:
                message = f"{options.tier}, {options.threads} threads: {name}"
                np.testing.assert_array_equal(
                    bits(results[name]), bits(expected[name]), err_msg=message
                )
    return expected


def _activations(operation: Operation) -> list[Value]:
    return [v for v in operation.inputs if v is not None and v.data is None]


def _like(value: Value, name: str) -> Value:
    return Value(name, value.shape, value.dtype)


def _copy(source: Value, target: Value) -> Operation:
    """The same values, row by row."""
    return Operation("copy", [source], [target], {"reserved": 0}, f"copy to {target.name}")


class _Stream:
    """A program of copies around one operation, and the plan that streams it.

    One buffer holds the rings and a guard on either side of each. Elements get no larger from one
    ring to the next, so that all lie side by side without a gap.
    """

    def __init__(
        self,
        operation: Operation,
        reads: list[RowRange],
        band: int,
        spare: int,
        tight: int | None = None,  # the ring that is a row too small
    ) -> None:
        self.reads = reads
        self.bands = list(_bands(operation, band))
        self.spare = spare
        self.tight = tight
        self.output = operation.output
        self.output_ring = min(band + spare, self.output.rows)
        self.rings = _activations(operation)
        self.sources = [_like(value, f"source of {value.name}") for value in self.rings]
        self.result = _like(operation.output, "result")
        copies_in = [_copy(s, r) for s, r in zip(self.sources, self.rings, strict=True)]
        copy_out = _copy(operation.output, self.result)

        # What must stay as it is: by the graph input that says how, the copies of it at the end.
        guard = Value("guard", (_GUARD_BYTES,), "int8")
        self.guards = [_like(guard, f"guard {i}") for i in range(len(self.rings) + 2)]
        self.kept = {guard: [_like(g, f"{g.name} at the end") for g in self.guards]}
        self.guards_in = [_copy(guard, g) for g in self.guards]
        guards_out = [_copy(g, e) for g, e in zip(self.guards, self.kept[guard], strict=True)]
        self.operations = [*copies_in, operation, copy_out, *self.guards_in, *guards_out]
        if spare:
            shape = (self.output_ring, self.output.row_bytes)
            pattern = Value("pattern", shape, "int8")
            self.pattern = _like(pattern, "pattern under the output")
            self.kept[pattern] = [_like(pattern, "pattern when its place is needed")]
            self.operations += [
                _copy(pattern, self.pattern),
                _copy(self.pattern, self.kept[pattern][0]),
            ]

    def plan(self) -> tuple[Program, Plan]:
        ring_rows, main_steps = self._streaming_steps()
        if self.tight is not None:
            ring_rows[self.tight] -= 1
        guards_in = len(self.rings) + 2
        guards_out = guards_in + len(self.guards)
        steps = [Step(guards_in + i, 0, 1) for i in range(len(self.guards))]
        if self.spare:
            steps.append(Step(len(self.operations) - 2, 0, self.output_ring))
        steps += main_steps
        steps += [Step(guards_out + i, 0, 1) for i in range(len(self.guards))]

        placements: dict[Value, Placement] = {}
        rows_held = [
            min(n + self.spare, r.rows) for n, r in zip(ring_rows, self.rings, strict=True)
        ]
        held = [*zip(self.rings, rows_held, strict=True), (self.output, self.output_ring)]
        held.sort(key=lambda ring: -np.dtype(ring[0].dtype).itemsize)
        end = 0
        for guard, (ring, rows) in zip(self.guards, held, strict=False):
            placements[guard] = Placement(0, end, 1)
            placements[ring] = Placement(0, end + _GUARD_BYTES, rows)
            end += _GUARD_BYTES + rows * ring.row_bytes
        placements[self.guards[-1]] = Placement(0, end, 1)
        end += _GUARD_BYTES
        if self.spare:
            placements[self.pattern] = Placement(
                0, placements[self.output].offset, self.output_ring
            )
        buffers = [Buffer(end, 0, len(steps) - 1, 0, False, False)]
        offset = -(-end // 16) * 16
        inputs = [*self.sources, *self.kept]
        outputs = [self.result, *(value for kept in self.kept.values() for value in kept)]
        for value in [*inputs, *outputs]:
            placements[value] = Placement(len(buffers), 0, value.rows)
            is_input = value in inputs
            buffers.append(Buffer(value.nbytes, 0, len(steps) - 1, offset, is_input, not is_input))
            offset += -(-value.nbytes // 16) * 16
        program = Program("main", inputs, outputs, self.operations)
        return program, Plan(program, self.operations, buffers, placements, steps, offset, 0)

    def _streaming_steps(self) -> tuple[list[int], list[Step]]:
        """Rows of each activation's ring, and the steps from the first copy in to the last out."""
        steps: list[Step] = []
        ring_rows = [1] * len(self.rings)
        longest = [1] * len(self.rings)
        written = [0] * len(self.rings)
        rows = [ring.rows for ring in self.rings]
        main = len(self.rings)
        for begin, end in self.bands:
            for i in range(len(self.rings)):
                first, last = self.reads[i](begin, end)
                if last > written[i]:
                    steps.append(Step(i, written[i], last))
                    longest[i] = max(longest[i], last - written[i])
                    written[i] = last
                if last > first:
                    # A step may overwrite only what no later band reads: count from `first`.
                    ring_rows[i] = max(ring_rows[i], written[i] - first)
                ring_rows[i] = min(max(ring_rows[i], longest[i]), rows[i])
            if self.spare:
                steps += self._make_room(begin, end)
            steps.append(Step(main, begin, end))
            if not self.spare:
                steps.append(Step(main + 1, begin, end))
        if self.spare:
            last_place = self.output.rows
            steps += self._make_room(last_place, last_place + self.output_ring)
        for i in range(len(self.rings)):
            steps += [Step(i, row, row + 1) for row in range(written[i], rows[i])]
        return ring_rows, steps

    def _make_room(self, begin: int, end: int) -> list[Step]:
        """Copies of what lies where rows [begin, end) of the output come."""
        steps = []
        if begin < self.output_ring:
            steps.append(Step(len(self.operations) - 1, begin, min(end, self.output_ring)))
        if end > self.output_ring:
            older = max(begin - self.output_ring, 0)
            steps.append(Step(len(self.rings) + 1, older, end - self.output_ring))
        return steps
