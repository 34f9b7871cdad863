"""Operations that take turns by bands of rows: when, with which rings, and that nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.plan import bands, plan_program
from edgeinfer.convert.plan.lifetimes import live_bytes
from edgeinfer.convert.plan.rows import rows_read
from edgeinfer.convert.plan.verify import PlanError, verify_plan
from edgeinfer.convert.program import Operation, Plan, Program, Step, Value
from edgeinfer.convert.write import write_model
from tests.convert.random_programs import (
    add,
    evaluate,
    lut8,
    max_pool,
    random_inputs,
    transpose,
)
from tests.requirements import require_module


@pytest.fixture
def tiny_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache that images of a few rows do not fit."""
    monkeypatch.setattr(bands, "CACHE_BYTES", 700)
    monkeypatch.setattr(bands, "STEP_BYTES", 1)
    yield


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


@pytest.mark.usefixtures("tiny_cache")
def test_a_chain_runs_by_bands_and_its_tensors_become_rings() -> None:
    program, (a, b, _) = chain()
    plan = plan_program(program)
    # A row of y reads three of b, of which all but the first make two anew.
    assert rings(plan) == {"a": 2, "b": 3}
    assert plan.steps[:3] == [Step(0, 0, 2), Step(1, 0, 2), Step(2, 0, 1)]
    held = sum(plan.placements[v].ring_rows * v.row_bytes for v in (a, b))
    assert held <= bands.CACHE_BYTES
    inputs = random_inputs(program)
    for found, expected in zip(
        run_on_device(program, plan, inputs), evaluate(program, inputs), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_what_fits_the_cache_runs_whole() -> None:
    program, _ = chain()
    plan = plan_program(program)
    assert rings(plan) == {}
    assert plan.steps == [Step(i, 0, op.output.rows) for i, op in enumerate(plan.operations)]


@pytest.mark.usefixtures("tiny_cache")
def test_a_tensor_with_two_readers_stays_whole() -> None:
    program, (a, *_) = chain()
    again = image("again", 12)
    program.operations.append(transpose(a, again, (0, 1, 2, 3)))
    program.outputs.append(again)
    assert "a" not in rings(plan_program(program))


@pytest.mark.usefixtures("tiny_cache")
def test_rings_save_their_share_of_the_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    program, _ = chain()
    by_bands = plan_program(program).arena_bytes
    monkeypatch.setattr(bands, "CACHE_BYTES", 1 << 20)
    assert by_bands < plan_program(program).arena_bytes


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "CACHE_BYTES", cache_bytes)
        patch.setattr(bands, "STEP_BYTES", 1)
        plan = plan_program(program)
        assert _peak(plan) <= _peak_of_whole_steps(program, patch)
    inputs = random_inputs(program)
    for found, expected in zip(
        run_on_device(program, plan, inputs), evaluate(program, inputs), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def _peak(plan: Plan) -> int:
    return max(live_bytes(plan.buffers, aligned=True))


def _peak_of_whole_steps(program: Program, patch: pytest.MonkeyPatch) -> int:
    patch.setattr(bands, "CACHE_BYTES", 1 << 30)
    return _peak(plan_program(program))


@pytest.mark.usefixtures("tiny_cache")
@pytest.mark.parametrize("name", ["a", "b"])
def test_a_ring_with_a_row_too_few_is_found(name: str) -> None:
    program, values = chain()
    plan = plan_program(program)
    (ring,) = (v for v in values if v.name == name)
    place = plan.placements[ring]
    plan.placements[ring] = replace(place, ring_rows=place.ring_rows - 1)
    with pytest.raises(PlanError):
        verify_plan(program, plan)
    with pytest.raises(edgeinfer.errors.ModelFileError):
        edgeinfer.load(write_model([(program, plan)], {}))


@pytest.mark.usefixtures("tiny_cache")
def test_a_band_that_comes_before_its_rows_is_found() -> None:
    program, _ = chain()
    plan = plan_program(program)
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
