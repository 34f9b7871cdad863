"""Operations that take turns by bands of rows: when, with which rings, and that nothing changes."""

from __future__ import annotations

import collections
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.plan import plan_curve, plan_program, session_bytes
from edgeinfer.convert.plan.rows import rows_read
from edgeinfer.convert.plan.step_cost import StepCosts
from edgeinfer.convert.plan.verify import PlanError, verify_plan
from edgeinfer.convert.program import Operation, Plan, Program, Step, Value
from edgeinfer.convert.write import write_model
from edgeinfer.errors import BudgetError, InputError
from tests.convert.random_programs import (
    add,
    evaluate,
    lut8,
    max_pool,
    random_inputs,
    transpose,
)
from tests.requirements import require_module

TINY_CACHE = StepCosts(cache_bytes=700, step_ns=0.1)
"""A cache that images of a few rows do not fit."""


def image(name: str, height: int, width: int = 8, channels: int = 16, images: int = 1) -> Value:
    return Value(name, (images, height, width, channels), "int8")


def pooled(x: Value, name: str, kernel: int, stride: int, pad: int, dilation: int = 1) -> Operation:
    reach = (kernel - 1) * dilation + 1
    height = (x.shape[1] + 2 * pad - reach) // stride + 1
    width = (x.shape[2] + 2 * pad - reach) // stride + 1
    y = Value(name, (x.shape[0], height, width, x.shape[3]), x.dtype)
    return max_pool(x, y, kernel, stride, pad, dilation)


def chain() -> tuple[Program, list[Value]]:
    """x -> a (3x3) -> b (1x1) -> y (3x3 at stride 2), 12 rows of 128 bytes."""
    x = image("x", 12)
    first = pooled(x, "a", 3, 1, 1)
    second = pooled(first.output, "b", 1, 1, 0)
    third = pooled(second.output, "y", 3, 2, 1)
    operations = [first, second, third]
    return Program("main", [x], [third.output], operations), [op.output for op in operations]


def rings(plan: Plan) -> dict[str, int]:
    return {v.name: p.ring_rows for v, p in plan.placements.items() if p.ring_rows < v.rows}


def run_on_device(program: Program, plan: Plan, inputs: list[np.ndarray]) -> list[np.ndarray]:
    with edgeinfer.load(write_model([(program, plan)], {})) as model:
        arrays = dict(zip((info.name for info in model.inputs), inputs, strict=True))
        results = model.run(arrays)
    return list(results.values()) if isinstance(results, dict) else [results]


def assert_runs_right(program: Program, plan: Plan) -> None:
    inputs = random_inputs(program)
    found = run_on_device(plan.program, plan, inputs)
    for result, expected in zip(found, evaluate(program, inputs), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_a_chain_runs_by_bands_and_its_tensors_become_rings() -> None:
    program, (a, b, _) = chain()
    plan = plan_program(program, costs=TINY_CACHE)
    # A row of y reads three of b, of which all but the first make two anew.
    assert rings(plan) == {"a": 2, "b": 3}
    assert plan.steps[:3] == [Step(0, 0, 2), Step(1, 0, 2), Step(2, 0, 1)]
    held = sum(plan.placements[v].ring_rows * v.row_bytes for v in (a, b))
    assert held <= TINY_CACHE.cache_bytes
    assert_runs_right(program, plan)


def test_the_smallest_plan_holds_the_rows_of_each_window() -> None:
    program, _ = chain()
    plan = plan_program(program, optimize="ram")
    assert rings(plan) == {"a": 1, "b": 3}
    assert_runs_right(program, plan)


def test_what_fits_the_cache_runs_whole() -> None:
    program, _ = chain()
    plan = plan_program(program)
    assert rings(plan) == {}
    assert plan.steps == [Step(i, 0, op.output.rows) for i, op in enumerate(plan.operations)]


def test_what_an_operation_reads_whole_stays_whole() -> None:
    program, (a, *_) = chain()
    again = image("again", 12)
    program.operations.append(transpose(a, again, (0, 2, 1, 3)))
    program.outputs.append(again)
    assert "a" not in rings(plan_program(program, optimize="ram"))


def test_a_skip_connection_waits_in_a_ring() -> None:
    """x -> a; a -> b (3x3) -> c (3x3); y = a + c: b and c look two rows ahead of the sum."""
    x = image("x", 32)
    a = pooled(x, "a", 1, 1, 0)
    b = pooled(a.output, "b", 3, 1, 1)
    c = pooled(b.output, "c", 3, 1, 1)
    total = add(a.output, c.output, image("total", 32))
    y = pooled(total.output, "y", 3, 2, 1)
    operations = [a, b, c, total, y]
    program = Program("main", [x], [y.output], operations)
    plan = plan_program(program, optimize="ram")
    assert rings(plan) == {"a": 3, "b": 3, "c": 3, "total": 3}
    assert plan.placements[c.output] == plan.placements[total.output], "written in place"
    assert_runs_right(program, plan)


def test_a_branch_that_shrinks_runs_before_more_rows_come() -> None:
    """The 1x1 at stride 2 makes one row of two: they do not wait for it, nor it for the sum."""
    x = image("x", 32)
    a = pooled(x, "a", 1, 1, 0)
    b = pooled(a.output, "b", 3, 2, 1)
    c = pooled(b.output, "c", 3, 1, 1)
    shortcut = pooled(a.output, "shortcut", 1, 2, 0)
    y = add(c.output, shortcut.output, image("y", 16, 4))
    program = Program("main", [x], [y.output], [a, b, c, shortcut, y])
    plan = plan_program(program, optimize="ram")
    found = rings(plan)
    assert found["a"] == 3 and found["shortcut"] == 1
    assert_runs_right(program, plan)


def test_costs_decide_how_tall_bands_are() -> None:
    program, _ = chain()
    plans = plan_curve(program)
    assert len(plans) > 2
    assert [plan.cost_ns for plan in plans] == sorted(plan.cost_ns for plan in plans)
    assert all(a.arena_bytes > b.arena_bytes for a, b in itertools.pairwise(plans))
    assert len(plans[0].steps) == 3 and len(plans[-1].steps) > 20
    for plan in plans:
        assert_runs_right(program, plan)


def test_a_budget_gets_the_fastest_plan_that_fits() -> None:
    program, _ = chain()
    plans = plan_curve(program)
    for plan in plans:
        budget = session_bytes(program, plan)
        assert plan_program(program, ram_budget=budget).cost_ns <= plan.cost_ns
        if plan is not plans[0]:
            assert plan_program(program, ram_budget=budget).cost_ns > plans[0].cost_ns
    with pytest.raises(BudgetError, match=r"64 too few; memory peaks in step \d+, node 'make "):
        plan_program(program, ram_budget=session_bytes(program, plans[-1]) - 64)


def test_balanced_is_the_smallest_that_is_not_much_slower() -> None:
    program, _ = chain()
    costs = StepCosts(step_ns=100)
    plans = plan_curve(program, costs=costs)
    limit = plans[0].cost_ns * 1.25
    expected = [plan for plan in plans if plan.cost_ns <= limit][-1]
    assert plans[0].arena_bytes > expected.arena_bytes > plans[-1].arena_bytes
    found = plan_program(program, optimize="balanced", costs=costs)
    assert found.arena_bytes == expected.arena_bytes and found.steps == expected.steps
    with pytest.raises(InputError, match="optimize is 'small', must be one of latency, balanced"):
        plan_program(program, optimize="small")


@st.composite
def image_programs(draw: st.DrawFn) -> Program:
    """Chains of windows, tables and sums with branches, of one or two images."""
    x = image("in", draw(st.integers(1, 17)), draw(st.integers(1, 6)), 4, draw(st.integers(1, 2)))
    values = [x]
    operations: list[Operation] = []
    for number in range(draw(st.integers(1, 9))):
        source = values[-1] if draw(st.integers(0, 5)) else draw(st.sampled_from(values))
        operation = _random_operation(draw, source, values, f"v{number}")
        operations.append(operation)
        values.append(operation.output)
    outputs = {operations[-1].output, draw(st.sampled_from(values[1:]))}
    return Program("main", [x], sorted(outputs, key=lambda v: v.name), operations)


def _random_operation(draw: st.DrawFn, x: Value, values: list[Value], name: str) -> Operation:
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return lut8(x, Value(name, x.shape, "int8"), draw(st.integers(0, 9)))
    alike = [v for v in values if v.shape == x.shape]
    if kind == 1:
        return add(x, draw(st.sampled_from(alike)), Value(name, x.shape, "int8"))
    kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    reach = (kernel - 1) * dilation + 1
    if min(x.shape[1:3]) < reach:
        kernel, dilation, reach = 1, 1, 1
    pad = draw(st.integers(0, (kernel - 1) // 2 * dilation))
    return pooled(x, name, kernel, draw(st.integers(1, 3)), pad, dilation)


@given(image_programs(), st.integers(1, 400))
def test_bands_change_no_result(program: Program, cache_bytes: int) -> None:
    plan = plan_program(program, costs=StepCosts(cache_bytes=cache_bytes, step_ns=0.1))
    assert_runs_right(program, plan)


@given(image_programs())
def test_the_smallest_plan_changes_no_result(program: Program) -> None:
    plan = plan_program(program, optimize="ram")
    whole = plan_program(program)
    assert session_bytes(plan.program, plan) <= session_bytes(whole.program, whole)
    assert_runs_right(program, plan)


@given(image_programs())
def test_every_plan_of_the_curve_gives_the_same_result(program: Program) -> None:
    for plan in plan_curve(program):
        assert_runs_right(program, plan)


@given(image_programs(), st.data())
def test_rings_are_no_larger_than_they_must_be(program: Program, data: st.DataObject) -> None:
    plan = plan_program(program, optimize="ram")
    shared = collections.Counter(place.buffer for place in plan.placements.values())
    small = [
        (value, place)
        for value, place in plan.placements.items()
        if 1 < place.ring_rows < value.rows and shared[place.buffer] == 1
    ]
    if small:
        value, place = data.draw(st.sampled_from(small))
        plan.placements[value] = replace(place, ring_rows=place.ring_rows - 1)
        with pytest.raises(PlanError):
            verify_plan(plan.program, plan)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_ring_with_a_row_too_few_is_found(name: str) -> None:
    program, values = chain()
    plan = plan_program(program, costs=TINY_CACHE)
    (ring,) = (v for v in values if v.name == name)
    place = plan.placements[ring]
    plan.placements[ring] = replace(place, ring_rows=place.ring_rows - 1)
    with pytest.raises(PlanError):
        verify_plan(program, plan)
    with pytest.raises(edgeinfer.errors.ModelFileError):
        edgeinfer.load(write_model([(program, plan)], {}))


def test_a_band_that_comes_before_its_rows_is_found() -> None:
    program, _ = chain()
    plan = plan_program(program, costs=TINY_CACHE)
    order = [plan.operations[step.operation].name for step in plan.steps]
    assert order[:6] == ["make a", "make b", "make y"] * 2
    for index in (0, 1, 3, 4):
        changed = replace(plan, steps=list(plan.steps))
        changed.steps[index], changed.steps[index + 1] = plan.steps[index + 1], plan.steps[index]
        with pytest.raises(PlanError):
            verify_plan(program, changed)


def test_windows_across_images_read_from_the_first_to_the_last() -> None:
    operation = pooled(image("x", 4, images=3), "y", 3, 1, 1)
    (x,) = operation.inputs
    assert x is not None
    assert rows_read(operation, x, 0, 1) == (0, 2)
    assert rows_read(operation, x, 3, 5) == (2, 6)
    assert rows_read(operation, x, 11, 12) == (10, 12)


def test_mobilenet_runs_by_bands_in_half_the_memory(models_dir: Path) -> None:
    require_module("tflite")
    (plan,) = convert(models_dir / "mobilenet_v2_int8.tflite").plans
    assert len(rings(plan)) == 7
    assert plan.arena_bytes == 559_104
