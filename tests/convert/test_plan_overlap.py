"""Tensors that lie where rows of others have died: when, and that wrong places are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.plan.candidates import Candidates
from edgeinfer.convert.plan.overlap import find_clusters
from edgeinfer.convert.plan.planner import make_plan
from edgeinfer.convert.plan.step_cost import StepCosts
from edgeinfer.convert.plan.verify import PlanError, verify_plan
from edgeinfer.convert.program import Plan, Program, Value
from edgeinfer.convert.write import write_model
from tests.convert.random_programs import evaluate, random_inputs, transpose
from tests.convert.test_plan_bands import assert_runs_right, image, image_programs, pooled


def narrowing() -> Program:
    """An image that is needed whole: its last rows come when the rings before it are empty."""
    x = image("x", 33)
    first = pooled(x, "first", 3, 1, 1)
    second = pooled(first.output, "second", 3, 2, 1)
    third = pooled(second.output, "third", 3, 1, 1)
    turned = Value("turned", (1, *third.output.shape[2:0:-1], 16), "int8")
    last = transpose(third.output, turned, (0, 2, 1, 3))
    return Program("main", [x], [turned], [first, second, third, last])


def shrinking() -> Program:
    """An image that is read row by row for smaller and smaller ones."""
    x = image("x", 65)
    operations = [pooled(x, "same", 3, 1, 1)]
    for _ in range(5):
        name = f"of {operations[-1].output.rows} rows"
        operations.append(pooled(operations[-1].output, name, 3, 2, 1))
    turned = Value("turned", (1, *operations[-1].output.shape[2:0:-1], 16), "int8")
    operations.append(transpose(operations[-1].output, turned, (0, 2, 1, 3)))
    return Program("main", [x], [turned], operations)


def overlapping(plan: Plan) -> list[tuple[Value, Value]]:
    """Pairs of values in one buffer that have some bytes in common, and not all."""
    spans = {
        value: (place.buffer, place.offset, place.offset + place.ring_rows * value.row_bytes)
        for value, place in plan.placements.items()
    }
    return [
        (a, b)
        for a, (buffer, begin, end) in spans.items()
        for b, (other, low, high) in spans.items()
        if a is not b and buffer == other and begin < low < end and (begin, end) != (low, high)
    ]


def test_overlaps_make_the_smallest_plan_smaller() -> None:
    program = narrowing()
    arrangement = min(
        Candidates(program, StepCosts()).smallest(), key=lambda found: (found.peak, found.cost)
    )
    apart, plan = make_plan(arrangement, overlap=False), make_plan(arrangement)
    assert plan.arena_bytes < apart.arena_bytes and overlapping(plan)
    assert not overlapping(apart)
    assert list(find_clusters(arrangement))
    assert_runs_right(program, plan)


def test_plans_for_latency_have_no_overlaps() -> None:
    program = narrowing()
    assert not overlapping(plan_program(program, costs=StepCosts(cache_bytes=700, step_ns=1)))


@given(st.data())
def test_a_value_at_another_place_is_found_or_harmless(data: st.DataObject) -> None:
    program = narrowing()
    plan = plan_program(program, optimize="ram")
    value, _ = data.draw(st.sampled_from(overlapping(plan)))
    place = plan.placements[value]
    room = plan.buffers[place.buffer].bytes - place.ring_rows * value.row_bytes
    offset = 16 * data.draw(st.integers(0, room // 16))
    alike = [v for v, other in plan.placements.items() if other == place]
    plan.placements.update(dict.fromkeys(alike, replace(place, offset=offset)))
    try:
        verify_plan(plan.program, plan)
    except PlanError:
        with pytest.raises(edgeinfer.errors.ModelFileError):
            edgeinfer.load(write_model([(plan.program, plan)], {}))
    else:
        assert_runs_right(program, plan)


def over_inputs(plan: Plan) -> list[tuple[int, int]]:
    """Buffers of graph inputs, and others in their bytes while both are alive."""
    return [
        (a, b)
        for a, of_input in enumerate(plan.buffers)
        for b, other in enumerate(plan.buffers)
        if of_input.is_input
        and not other.is_input
        and max(of_input.first_step, other.first_step) <= min(of_input.last_step, other.last_step)
        and of_input.offset < other.offset + other.bytes
        and other.offset < of_input.offset + of_input.bytes
    ]


def assert_fed_runs_right(program: Program, plan: Plan) -> None:
    """Row by row, each into its place in the session's own memory, as late as it may come."""
    (x,) = random_inputs(program)
    with edgeinfer.load(write_model([(plan.program, plan)], {})) as model:
        rows = x.reshape(program.inputs[0].rows, *x.shape[-2:])
        results = [model.feed(rows[i : i + 1]) for i in range(len(rows))]
    np.testing.assert_array_equal(results[-1], evaluate(program, [x])[0])


def test_rows_of_an_input_that_have_been_read_make_room() -> None:
    program = shrinking()
    plan = plan_program(program, optimize="ram")
    assert over_inputs(plan)
    buffers = {place.buffer for place in plan.placements.values()}
    assert plan.arena_bytes < sum(plan.buffers[i].bytes for i in buffers)
    assert_runs_right(program, plan)
    assert_fed_runs_right(program, plan)


@given(st.data())
def test_a_buffer_elsewhere_over_an_input_is_found_or_harmless(data: st.DataObject) -> None:
    program = shrinking()
    plan = plan_program(program, optimize="ram")
    _, other = data.draw(st.sampled_from(over_inputs(plan)))
    buffer = plan.buffers[other]
    buffer.offset = 64 * data.draw(st.integers(0, (plan.arena_bytes - buffer.bytes) // 64))
    plan.arena_bytes = max(b.offset + b.bytes for b in plan.buffers)
    try:
        verify_plan(plan.program, plan)
    except PlanError:
        with pytest.raises(edgeinfer.errors.ModelFileError):
            edgeinfer.load(write_model([(plan.program, plan)], {}))
    else:
        assert_runs_right(program, plan)
        assert_fed_runs_right(program, plan)


@given(image_programs())
def test_overlaps_change_no_result(program: Program) -> None:
    for arrangement in Candidates(program, StepCosts()).smallest():
        plan = make_plan(arrangement)
        assert plan.arena_bytes <= make_plan(arrangement, overlap=False).arena_bytes
        assert_runs_right(program, plan)
