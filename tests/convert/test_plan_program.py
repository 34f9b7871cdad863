"""Whole plans: right for any program, small for known ones, refused when over budget."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.budget import align_up
from edgeinfer.convert import convert
from edgeinfer.convert.plan import plan_program, session_bytes
from edgeinfer.convert.plan.lifetimes import live_bytes
from edgeinfer.convert.program import Operation, Plan, Program, Value
from edgeinfer.errors import BudgetError
from tests.convert.random_programs import (
    concat,
    copy,
    evaluate,
    programs,
    random_inputs,
    run_plan,
)
from tests.requirements import require_module


def value(name: str, *shape: int, dtype: str = "int8") -> Value:
    return Value(name, shape, dtype)


def compute_node(inputs: list[Value], output: Value) -> Operation:
    """Some operator that needs all of its inputs and has no place for its output but a new one."""
    return Operation("transpose_conv2d", list(inputs), [output], {}, f"make {output.name}")


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


def chain(count: int, size: int) -> Program:
    values = [value(f"v{i}", size) for i in range(count + 1)]
    operations = [compute_node([a], b) for a, b in pairwise(values)]
    return Program("chain", [values[0]], [values[-1]], operations)


def test_a_graph_input_lives_from_the_start_and_an_output_to_the_end() -> None:
    program = chain(4, 64)
    early = value("early", 64)
    program.operations.insert(1, compute_node([program.operations[0].output], early))
    program.outputs.append(early)
    plan = plan_program(program)
    lives = {
        name: (buffer.first_step, buffer.last_step, buffer.is_input, buffer.is_output)
        for name in (program.inputs[0], early, program.outputs[0])
        for buffer in [plan.buffers[plan.placements[name].buffer]]
    }
    positions = {operation.output: i for i, operation in enumerate(plan.operations)}
    assert lives[program.inputs[0]] == (0, 0, True, False)
    assert lives[early] == (positions[early], 4, False, True)
    assert lives[program.outputs[0]] == (positions[program.outputs[0]], 4, False, True)


def test_what_nobody_reads_has_a_place_too() -> None:
    x, unread, spare, y = (value(name, 64) for name in ("x", "unread", "spare", "y"))
    program = Program("main", [x, unread], [y], [compute_node([x], spare), compute_node([x], y)])
    plan = plan_program(program)
    assert plan.placements[spare].buffer != plan.placements[y].buffer
    assert plan.buffers[plan.placements[unread].buffer].is_input


def test_the_arena_ends_where_the_last_buffer_ends() -> None:
    x, y = value("x", 100), value("y", 3)
    plan = plan_program(Program("main", [x], [y], [compute_node([x], y)]))
    assert plan.arena_bytes in (128 + 3, 64 + 100)


def test_the_peak_is_where_most_bytes_are_alive() -> None:
    sizes = [64, 64, 640, 640, 64]
    values = [value(f"v{i}", size) for i, size in enumerate(sizes)]
    operations = [compute_node([a], b) for a, b in pairwise(values)]
    plan = plan_program(Program("main", [values[0]], [values[-1]], operations))
    assert plan.operations[plan.steps[plan.peak_step].operation].name == "make v3"
    assert plan.arena_bytes == 1280


def test_the_budget_is_kept_or_refused_with_the_peak_and_the_shortfall() -> None:
    program = chain(3, 1000)
    needed = session_bytes(program, plan_program(program))
    assert needed == align_up(256 + 3 * 32 + 6 * 32, 64) + align_up(1024 + 1000, 64)
    assert plan_program(program, ram_budget=needed).arena_bytes == 2024
    with pytest.raises(BudgetError) as caught:
        plan_program(program, ram_budget=needed - 1)
    message = str(caught.value)
    assert f"needs {needed} bytes and ram_budget is {needed - 1}:" in message
    assert "1 too few" in message
    assert "'make v1' (transpose_conv2d)" in message
    assert "raise the budget" in message
    assert isinstance(caught.value, MemoryError)


def test_the_program_is_not_changed() -> None:
    x, a, b, y = value("x", 1, 8), value("a", 1, 8), value("b", 1, 8), value("y", 1, 16)
    operations = [compute_node([x], a), compute_node([x], b), concat([a, b], y, 1)]
    program = Program("main", [x], [y], list(operations))
    plan = plan_program(program)
    assert program.operations == operations
    assert len(plan.operations) == 2


def test_a_detector_is_planned_without_concats_and_reshapes() -> None:
    """Heads at several scales, their boxes joined into one graph output."""
    image = x = value("image", 1, 128, 128, 3)
    operations = []
    boxes = []
    for size in (32, 16, 8):
        y = value(f"features{size}", 1, size, size, 16)
        operations.append(compute_node([x], y))
        head, rows = value(f"head{size}", 1, size, size, 12), value(f"r{size}", 1, 3 * size**2, 4)
        operations += [compute_node([y], head), copy(head, rows)]
        boxes.append(rows)
        x = y
    result = value("boxes", 1, sum(rows.shape[1] for rows in boxes), 4)
    operations.append(concat(boxes, result, 1))
    program = Program("detector", [image], [result], operations)
    plan = plan_program(program)
    assert {operation.operator for operation in plan.operations} == {"transpose_conv2d"}
    assert plan.arena_bytes == 128 * 128 * 3 + 32 * 32 * 16


@pytest.mark.parametrize(
    ("name", "arena_bytes"),
    [
        ("ad01", 768),
        ("kws", 16_000),
        ("vww", 55_296),
        ("resnet8", 49_152),
        ("mobilenet_v2", 559_104),
    ],
)
def test_real_models_reach_the_lower_bound(name: str, arena_bytes: int, models_dir: Path) -> None:
    require_module("tflite")
    conversion = convert(models_dir / f"{name}_int8.tflite")
    (plan,) = conversion.plans
    assert plan.arena_bytes == arena_bytes == lower_bound(plan)
