"""Random plans in one buffer: the validator's verdict against a simulation of every byte.

A random chain of operators is computed in bands, in a random order of steps. Its tensors, whole or
rings, start apart; then one after the other is moved to a random place of the buffer. The
simulation knows of every byte which row of which tensor it holds. What the validator accepts must
be right by that, and the file must compute what the plan without overlap computes, of whole arrays
and of rows that are fed. And what is right, rows being lost in their order, the validator must
accept. The buffer itself moves too, into the bytes of the graph input.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert.plan.rows import rows_read
from edgeinfer.convert.program import Operation, Placement, Plan, Step, Value
from tests.core.edge_file import check
from tests.core.programs import ROW_BYTES, Draft, activation, drop_rows, largest, lut, pool

FREE = -1
IN_PLACE = ("lut8", "maximum")


@dataclass
class Drawn:
    """A program, the order of its steps, and the buffer that its tensors share."""

    draft: Draft
    views: dict[Value, tuple[Value, int]] = field(default_factory=dict)  # of a value, from a row on

    @property
    def shared(self) -> list[Value]:
        """What lies in the shared buffer and may be moved."""
        placements = self.draft.placements
        buffer = len(self.draft.buffers) - 1
        return [v for v, place in placements.items() if place.buffer == buffer]


def draw(rng: random.Random) -> Drawn:
    """x -> a chain of up to six operators -> y; all tensors but x and y share a buffer."""
    rows = rng.randint(3, 9)
    x = activation("x", rows)
    values = [x]
    operations: list[Operation] = []
    views: dict[Value, tuple[Value, int]] = {}
    for number in range(rng.randint(2, 6)):
        source = values[-1]
        produced = [v for v in values[1:] if v not in views]
        if source in produced and source.rows > 1 and rng.random() < 0.15:
            begin = rng.randrange(source.rows)
            shown = activation(f"view {number}", rng.randint(1, source.rows - begin))
            views[shown] = (source, begin)
            values.append(shown)
            source = shown
        operations.append(_operation(rng, f"t{number}", source, values))
        values.append(operations[-1].output)
    last = values[-1]
    y = activation("y", last.rows)
    operations.append(lut(last, y))
    draft = Draft([x], [y], operations)
    draft.steps = _steps(rng, operations, views)
    draft.buffers[-1].offset = 1 << 14  # of y: out of the way
    _lay_out(draft, [v for v in values[1:] if v not in views], views)
    return Drawn(draft, views)


def _operation(rng: random.Random, name: str, source: Value, values: list[Value]) -> Operation:
    kinds = ["lut", "pool", "largest"]
    if source.rows > 2:
        kinds += ["halve", "drop"]
    kind = rng.choice(kinds)
    if kind == "lut":
        return lut(source, activation(name, source.rows))
    if kind == "pool":
        return pool(source, activation(name, source.rows), 3, 1, 1)
    if kind == "halve":
        return pool(source, activation(name, (source.rows - 2) // 2 + 1), 2, 2, 0)
    if kind == "drop":
        return drop_rows(source, activation(name, source.rows - rng.randint(1, source.rows - 1)))
    others = [v for v in values if v.rows == source.rows and v is not source]
    other = rng.choice(others) if others else source
    return largest(source, other, activation(name, source.rows))


def reads(operation: Operation, value: Value, begin: int, end: int) -> tuple[int, int]:
    """Rows of an input that a step needs; the planner's rules leave two operators out."""
    if operation.operator == "slice":
        dropped = value.rows - operation.output.rows
        return begin + dropped, end + dropped
    if operation.operator == "maximum":
        return begin, end
    return rows_read(operation, value, begin, end)


def _steps(
    rng: random.Random, operations: list[Operation], views: dict[Value, tuple[Value, int]]
) -> list[Step]:
    """Bands of random heights, each run at some time after what it reads."""
    done = [0] * len(operations)
    producer = {op.output: i for i, op in enumerate(operations)}
    tallest = rng.choice([1, 1, 2, 3, 9])

    def is_ready(index: int, end: int) -> bool:
        for value in operations[index].inputs:
            if value is None or value.data is not None:
                continue
            _, last = reads(operations[index], value, done[index], end)
            if value in views:
                value, first = views[value]
                last += first
            if value in producer and done[producer[value]] < last:
                return False
        return True

    steps = []
    late = rng.random() < 0.5  # prefer what is further on, which keeps few rows alive
    while any(done[i] < op.output.rows for i, op in enumerate(operations)):
        ready = []
        for i, op in enumerate(operations):
            if done[i] < op.output.rows:
                end = min(done[i] + rng.randint(1, tallest), op.output.rows)
                if is_ready(i, end):
                    ready.append((i, end))
        if not ready:
            continue
        index, end = ready[-1] if late else rng.choice(ready)
        steps.append(Step(index, done[index], end))
        done[index] = end
    return steps


def _lay_out(draft: Draft, values: list[Value], views: dict[Value, tuple[Value, int]]) -> None:
    """A buffer for values, whole, one behind the other."""
    places: dict[Value, tuple[int, int | None]] = {}
    end = 0
    for value in values:
        places[value] = (end, None)
        end += value.nbytes
    draft.overlap(places)
    _follow(draft, views)


def _follow(draft: Draft, views: dict[Value, tuple[Value, int]]) -> None:
    """Views move with what they show."""
    for view, (source, row) in views.items():
        place = draft.placements[source]
        offset = place.offset + row * source.row_bytes
        draft.placements[view] = Placement(place.buffer, offset, view.rows)


@dataclass
class Verdict:
    """What the simulation finds."""

    sound: bool = (
        True  # every byte that is read is of a row that is there, the right one or a view's
    )
    in_order: bool = True  # and no row that is read comes before one that is lost
    right: bool = True  # views, too, show what the program says


def simulate(drawn: Drawn, plan: Plan) -> Verdict:
    """Walk the steps byte by byte."""
    values = list(plan.placements)
    number = {value: i for i, value in enumerate(values)}
    holder = np.full(plan.arena_bytes, FREE)
    row_of = np.full(plan.arena_bytes, FREE)
    lost = dict.fromkeys(values, 0)
    verdict = Verdict()

    def addresses(value: Value, row: int) -> slice:
        place = plan.placements[value]
        begin = plan.buffers[place.buffer].offset + place.offset
        first = begin + row % place.ring_rows * value.row_bytes
        return slice(first, first + value.row_bytes)

    (x,) = drawn.draft.program.inputs
    come = 0  # rows of x that have come for certain
    for row in range(x.rows):
        holder[addresses(x, row)] = number[x]
        row_of[addresses(x, row)] = row

    def addressed(value: Value, begin: int, end: int) -> set[int]:
        places = [addresses(value, row) for row in range(begin, end)]
        return {address for place in places for address in range(place.start, place.stop)}

    def read(value: Value, begin: int, end: int) -> None:
        for row in range(begin, end):
            held, rows = holder[addresses(value, row)], row_of[addresses(value, row)]
            origin, first = drawn.views.get(value, (value, 0))
            is_there = bool(((held == number[origin]) & (rows == row + first)).all())
            verdict.right &= is_there
            if value not in drawn.views:
                verdict.sound &= is_there
                verdict.in_order &= row >= lost[value]
                continue
            for other in np.unique(held).tolist():
                shown = values[other]
                is_whole = other != FREE and plan.placements[shown].ring_rows == shown.rows
                verdict.sound &= is_whole
                if is_whole:
                    verdict.in_order &= int(rows[held == other].min()) >= lost[shown]

    for step in plan.steps:
        operation = plan.operations[step.operation]
        output = operation.output
        place = plan.placements[output]
        if step.row_end - step.row_begin > place.ring_rows:
            return Verdict(sound=False)
        written = addressed(output, step.row_begin, step.row_end)
        for operand in operation.inputs:
            if operand is None or operand.data is not None:
                continue
            rows = reads(operation, operand, step.row_begin, step.row_end)
            read(operand, *rows)
            come = max(come, rows[1]) if operand is x else come
            is_same = plan.placements[operand] == place and operand.shape == output.shape
            if not (is_same and operation.operator in IN_PLACE):
                verdict.sound &= not written & addressed(operand, *rows)
        for row in range(step.row_begin, step.row_end):
            where = addresses(output, row)
            held = holder[where]
            for number_held in np.unique(held[held != FREE]).tolist():
                hit = values[number_held]
                if hit is not output:
                    newest = int(row_of[where][held == number_held].max())
                    lost[hit] = max(lost[hit], newest + 1)
            held[:] = number[output]
            row_of[where] = row
            verdict.in_order &= not set(range(where.start, where.stop)) & addressed(x, come, x.rows)
    for value in drawn.draft.program.outputs:
        read(value, 0, value.rows)
    return verdict


def has_overlaps(drawn: Drawn) -> bool:
    """Whether rows decide alone; without overlaps, tensors of the same bytes form chains."""
    places = [
        (drawn.draft.placements[v].offset, _held(drawn, v), v.rows)
        for v in drawn.shared
        if v not in drawn.views
    ]
    for i, (a, a_bytes, a_rows) in enumerate(places):
        for b, b_bytes, b_rows in places[:i]:
            if a < b + b_bytes and b < a + a_bytes:
                are_whole = (a_bytes, b_bytes) == (a_rows * ROW_BYTES, b_rows * ROW_BYTES)
                if (a, a_bytes) != (b, b_bytes) or not are_whole:
                    return True
    return False


def move(rng: random.Random, drawn: Drawn) -> None:
    """One tensor becomes a ring of other rows, or goes elsewhere; most often lower."""
    draft = drawn.draft
    produced = [v for v in drawn.shared if v not in drawn.views]
    value = rng.choice(produced)
    place = draft.placements[value]
    is_shown = any(value is source for source, _ in drawn.views.values())
    model = rng.choice(produced)
    if rng.random() < 0.3:
        draft.buffers[-1].offset = 64 * rng.randint(0, draft.program.inputs[0].rows)
    elif not is_shown and model.rows == value.rows and rng.random() < 0.3:
        draft.placements[value] = draft.placements[model]  # the very same bytes, often a ring's
    elif not is_shown and rng.random() < 0.3:
        draft.placements[value] = replace(place, ring_rows=rng.randint(1, value.rows))
    else:
        unit = rng.choice([ROW_BYTES, ROW_BYTES, 16, 1])
        reach = place.offset if rng.random() < 0.7 else draft.buffers[-1].bytes
        offset = rng.randrange(0, reach + 1, unit)
        draft.placements[value] = replace(place, offset=offset)
    _follow(draft, drawn.views)
    ends = [draft.placements[v].offset + _held(drawn, v) for v in drawn.shared]
    draft.buffers[-1].bytes = max(ends)


def _held(drawn: Drawn, value: Value) -> int:
    return drawn.draft.placements[value].ring_rows * value.row_bytes


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None)
def test_the_verdict_is_that_of_a_simulation(seed: int) -> None:
    rng = random.Random(seed)
    drawn = draw(rng)
    draft = drawn.draft
    rows = draft.program.inputs[0].rows
    x = np.random.default_rng(seed).integers(-128, 128, (1, rows, 4, 16)).astype(np.int8)
    at_once = [Step(i, 0, op.output.rows) for i, op in enumerate(draft.program.operations)]
    steps, draft.steps = draft.steps, at_once
    expected = edgeinfer.load(draft.write()).run(x)
    draft.steps = steps
    for _ in range(15):
        before, at = dict(draft.placements), draft.buffers[-1].offset
        move(rng, drawn)
        _, plan = draft.planned()
        verdict = simulate(drawn, plan)
        data = draft.write()
        status, message = check(data)
        assert status in ("EI_OK", "EI_ERROR_FORMAT"), message
        if not verdict.sound:
            assert status != "EI_OK"
        elif has_overlaps(drawn):
            assert (status == "EI_OK") == verdict.in_order, message
        if status == "EI_OK" and verdict.right:
            model = edgeinfer.load(data)
            np.testing.assert_array_equal(model.run(x), expected)
            fed = [model.feed(x[0, row : row + 1]) for row in range(rows)]
            np.testing.assert_array_equal(fed[-1], expected)
        else:
            draft.placements, draft.buffers[-1].offset = before, at
