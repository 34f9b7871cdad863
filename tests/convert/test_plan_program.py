"""Whole plans: right for any program, small for known ones, refused when over budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.plan.lifetimes import live_bytes
from edgeinfer.convert.program import Operation, Plan, Program, Value
from tests.convert.random_programs import (
    evaluate,
    programs,
    random_inputs,
    run_plan,
)


def value(name: str, *shape: int, dtype: str = "int8") -> Value:
    return Value(name, shape, dtype)


def compute_node(inputs: list[Value], output: Value) -> Operation:
    """Some operator that needs all of its inputs and has no place for its output but a new one."""
    return Operation("conv2d", list(inputs), [output], {}, f"make {output.name}")


def lower_bound(plan: Plan) -> int:
    return max(live_bytes(plan.buffers, aligned=True))


@given(programs(), st.booleans())
def test_running_the_plan_gives_what_the_program_says(program: Program, rebind: bool) -> None:
    inputs = random_inputs(program)
    results = run_plan(program, plan_program(program), inputs, rebind=rebind)
    for result, expected in zip(results, evaluate(program, inputs), strict=True):
        np.testing.assert_array_equal(result, expected)


@given(programs())
def test_planning_twice_gives_the_same_plan(program: Program) -> None:
    first, second = plan_program(program), plan_program(program)
    assert first.buffers == second.buffers
    assert first.steps == second.steps
    assert [o.name for o in first.operations] == [o.name for o in second.operations]


@given(programs())
def test_small_programs_reach_the_lower_bound(program: Program) -> None:
    plan = plan_program(program)
    assert lower_bound(plan) - 63 <= plan.arena_bytes <= lower_bound(plan)
