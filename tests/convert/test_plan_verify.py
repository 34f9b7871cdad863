"""The verifier finds what a wrong planner would do."""

from __future__ import annotations

import copy as copies
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.plan.verify import PlanError, verify_plan
from edgeinfer.convert.program import Buffer, Operation, Placement, Plan, Program, Step, Value
from tests.convert.random_programs import (
    add,
    concat,
    copy,
    evaluate,
    lut8,
    programs,
    random_inputs,
    run_plan,
    slice_,
    transpose,
)


def value(name: str, *shape: int, dtype: str = "int8") -> Value:
    return Value(name, shape, dtype)


def example() -> tuple[Program, Plan, dict[str, Value]]:
    """x -> a -> b, c -> joined -> y, with a concat, an in-place chain and a slice of the input."""
    values = {
        name: value(name, *shape)
        for name, shape in {
            "x": (2, 64),
            "row": (1, 64),
            "a": (1, 64),
            "b": (1, 64),
            "c": (1, 64),
            "joined": (2, 64),
            "y": (64, 2),
        }.items()
    }
    v = values
    operations = [
        slice_(v["x"], v["row"], (1, 0)),
        lut8(v["row"], v["a"], 0),
        lut8(v["a"], v["b"], 1),
        transpose(v["row"], v["c"], (0, 1)),
        concat([v["b"], v["c"]], v["joined"], 0),
        transpose(v["joined"], v["y"], (1, 0)),
    ]
    program = Program("main", [v["x"]], [v["y"]], operations)
    return program, plan_program(program), values


def test_the_example_is_what_the_tests_below_take_it_for() -> None:
    program, plan, v = example()
    verify_plan(program, plan)
    place = plan.placements
    assert [o.name for o in plan.operations] == ["make a", "make b", "make c", "make y"]
    assert place[v["row"]] == Placement(place[v["x"]].buffer, 64, 1)
    assert place[v["a"]] == place[v["b"]]
    assert place[v["c"]] == replace(place[v["b"]], offset=64)


Change = Callable[[Plan, dict[str, Value]], None]


def move(plan: Plan, moved: Value, **changes: int) -> None:
    plan.placements[moved] = replace(plan.placements[moved], **changes)


def buffer_of(plan: Plan, owner: Value) -> Buffer:
    return plan.buffers[plan.placements[owner].buffer]


def spread(plan: Plan) -> None:
    """Give every buffer addresses of its own, for the whole run."""
    for index, buffer in enumerate(plan.buffers):
        buffer.offset = 1024 * index
        buffer.first_step, buffer.last_step = 0, len(plan.steps) - 1
    plan.arena_bytes = plan.buffers[-1].offset + plan.buffers[-1].bytes


def set_field(owner: str, **fields: object) -> Change:
    def change(plan: Plan, v: dict[str, Value]) -> None:
        for name, content in fields.items():
            setattr(buffer_of(plan, v[owner]), name, content)

    return change


def swap_steps(plan: Plan, v: dict[str, Value]) -> None:
    plan.steps[0], plan.steps[1] = plan.steps[1], plan.steps[0]


def drop_step(plan: Plan, v: dict[str, Value]) -> None:
    del plan.steps[2]


def drop_operation(plan: Plan, v: dict[str, Value]) -> None:
    del plan.operations[3], plan.steps[3]


def repeat_operation(plan: Plan, v: dict[str, Value]) -> None:
    plan.operations.append(plan.operations[3])
    plan.steps.append(Step(4, 0, 64))


def repeat_step(plan: Plan, v: dict[str, Value]) -> None:
    plan.steps.append(plan.steps[3])


def run_fewer_rows(plan: Plan, v: dict[str, Value]) -> None:
    plan.steps[3] = Step(3, 0, 63)


def run_unknown_operation(plan: Plan, v: dict[str, Value]) -> None:
    plan.steps[3] = Step(4, 0, 64)


def add_operation(plan: Plan, v: dict[str, Value]) -> None:
    other = value("other", 1, 64)
    plan.operations.insert(0, lut8(v["row"], other, 3))
    plan.steps.append(Step(4, 0, 1))
    plan.placements[other] = plan.placements[v["a"]]


def let_y_die_early(plan: Plan, v: dict[str, Value]) -> None:
    spread(plan)
    buffer_of(plan, v["y"]).last_step = 2


def put_y_over_joined(plan: Plan, v: dict[str, Value]) -> None:
    buffer_of(plan, v["y"]).offset = buffer_of(plan, v["joined"]).offset
    plan.arena_bytes = max(buffer.offset + buffer.bytes for buffer in plan.buffers)


_CHANGES: list[tuple[str, Change]] = [
    ("reads 'a', whose bytes are not there", swap_steps),
    ("is run for 0 of 1 rows", drop_step),
    ("'make y' .* is not run", drop_operation),
    ("listed twice", repeat_operation),
    ("out of order", repeat_step),
    ("63 of 64 rows", run_fewer_rows),
    ("runs no operation", run_unknown_operation),
    ("is not of the program", add_operation),
    ("reads 'row'", lambda p, v: move(p, v["row"], offset=0)),
    ("reads 'joined'", lambda p, v: move(p, v["c"], offset=0)),
    ("of a ring of 1", lambda p, v: move(p, v["joined"], ring_rows=1)),
    ("leaves its buffer", lambda p, v: move(p, v["joined"], ring_rows=3)),
    ("is a ring of 0", lambda p, v: move(p, v["joined"], ring_rows=0)),
    ("leaves its buffer", lambda p, v: move(p, v["row"], offset=65)),
    ("does not fill its buffer", lambda p, v: move(p, v["y"], offset=64)),
    ("writes into a graph input", lambda p, v: move(p, v["a"], buffer=p.placements[v["x"]].buffer)),
    ("shares its buffer", lambda p, v: move(p, v["y"], buffer=p.placements[v["x"]].buffer)),
    ("marked wrongly", set_field("y", is_output=False)),
    ("marked wrongly", set_field("x", is_output=True)),
    ("without being one", set_field("a", is_output=True)),
    ("too late for the caller", set_field("x", first_step=1)),
    ("dies before the caller", let_y_die_early),
    ("when its buffer is not alive", set_field("x", last_step=1)),
    ("when its buffer is not alive", set_field("a", first_step=1)),
    ("lives from step", set_field("y", last_step=4)),
    ("misplaced", set_field("a", offset=16)),
    ("misplaced", set_field("y", offset=1 << 20)),
    ("overlap", put_y_over_joined),
    ("does not end with a buffer", lambda p, v: setattr(p, "arena_bytes", p.arena_bytes + 1)),
    ("peak step", lambda p, v: setattr(p, "peak_step", 4)),
]


@pytest.mark.parametrize(("message", "change"), _CHANGES)
def test_a_wrong_plan_is_found(message: str, change: Change) -> None:
    program, plan, values = example()
    change(plan, values)
    with pytest.raises(PlanError, match=message):
        verify_plan(program, plan)


def two_in_one(first: Operation, second: Operation, inputs: list[Value]) -> tuple[Program, Plan]:
    """A plan in which the second operation writes over the output of the first."""
    a, y = first.output, second.output
    program = Program("main", inputs, [y], [first, second])
    plan = plan_program(program)
    plan.placements[a] = replace(plan.placements[y], ring_rows=a.rows)
    spread(plan)
    return program, plan


def test_writing_over_what_an_operator_reads_is_found() -> None:
    x, a, y = value("x", 8, 8), value("a", 8, 8), value("y", 8, 8)
    program, plan = two_in_one(lut8(x, a, 0), transpose(a, y, (1, 0)), [x])
    with pytest.raises(PlanError, match="writes over 'a' while reading it"):
        verify_plan(program, plan)


def test_writing_in_place_with_another_shape_is_found() -> None:
    x, w, a, y = value("x", 1, 8), value("w", 8, 8), value("a", 1, 8), value("y", 8, 8)
    program, plan = two_in_one(lut8(x, a, 0), add(a, w, y), [x, w])
    with pytest.raises(PlanError, match="writes over 'a' while reading it"):
        verify_plan(program, plan)


def test_a_dropped_slice_of_several_runs_is_found() -> None:
    x, a, y = value("x", 4, 6), value("a", 4, 3), value("y", 4, 3)
    program = Program("main", [x], [y], [slice_(x, a, (0, 0)), lut8(a, y, 0)])
    plan = plan_program(program)
    del plan.operations[0], plan.steps[1]
    plan.placements[a] = replace(plan.placements[x], ring_rows=4)
    with pytest.raises(PlanError, match=r"'make a' .* is not run"):
        verify_plan(program, plan)


def test_a_dropped_concat_with_inputs_in_the_wrong_order_is_found() -> None:
    x, a, b, y = value("x", 1, 64), value("a", 1, 64), value("b", 1, 64), value("y", 1, 128)
    program = Program("main", [x], [y], [lut8(x, a, 0), lut8(x, b, 1), concat([a, b], y, 1)])
    plan = plan_program(program)
    plan.placements[a], plan.placements[b] = plan.placements[b], plan.placements[a]
    with pytest.raises(PlanError, match="graph output 'y' is not there"):
        verify_plan(program, plan)


def test_an_overwritten_graph_output_is_found() -> None:
    x, y, z = value("x", 64), value("y", 64), value("z", 64)
    program = Program("main", [x], [y, z], [lut8(x, y, 0), copy(y, z)])
    plan = plan_program(program)
    wrong = value("wrong", 64)
    plan.operations.append(Operation("copy", [x], [wrong], {"reserved": 0}))
    plan.steps.append(Step(2, 0, 1))
    plan.placements[wrong] = plan.placements[y]
    spread(plan)
    with pytest.raises(PlanError, match="graph output 'y' is not there"):
        verify_plan(program, plan)


@given(programs(), st.data())
def test_a_changed_plan_that_passes_still_computes_the_same(
    program: Program, data: st.DataObject
) -> None:
    """Random changes: whatever the verifier lets through must run right on real bytes."""
    plan = plan_program(program)
    changed = copies.copy(plan)
    changed.placements = dict(plan.placements)
    changed.buffers = [replace(buffer) for buffer in plan.buffers]
    changed.operations, changed.steps = list(plan.operations), list(plan.steps)
    for _ in range(data.draw(st.integers(1, 2))):
        _disturb(changed, data)
    try:
        verify_plan(program, changed)
    except PlanError:
        return
    assume(changed != plan)
    inputs = random_inputs(program)
    for rebind in (False, True):
        results = run_plan(program, changed, inputs, rebind=rebind)
        for result, expected in zip(results, evaluate(program, inputs), strict=True):
            assert (result == expected).all()


def _disturb(plan: Plan, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["buffer", "offset", "order", "life", "address"]))
    buffer = data.draw(st.sampled_from(plan.buffers))
    if kind in ("buffer", "offset"):
        moved = data.draw(st.sampled_from(list(plan.placements)))
        if kind == "buffer":
            index = data.draw(st.integers(0, len(plan.buffers) - 1))
            move(plan, moved, buffer=index, offset=0)
        else:
            move(plan, moved, offset=data.draw(st.integers(0, 16)))
    elif kind == "order":
        index = data.draw(st.integers(0, len(plan.operations) - 1))
        other = data.draw(st.integers(0, len(plan.operations) - 1))
        operations = plan.operations
        operations[index], operations[other] = operations[other], operations[index]
        plan.steps = [Step(i, 0, op.output.rows) for i, op in enumerate(operations)]
    elif kind == "life":
        steps = len(plan.steps)
        buffer.first_step, buffer.last_step = sorted(
            data.draw(st.tuples(st.integers(0, steps - 1), st.integers(0, steps - 1)))
        )
    else:
        buffer.offset = data.draw(st.integers(0, 4)) * 64
        plan.arena_bytes = max(b.offset + b.bytes for b in plan.buffers)
