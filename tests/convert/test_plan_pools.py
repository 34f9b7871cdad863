"""Global pools as running sums: which of them, that nothing else changes, and that results have the
same bits when no tensor of the image exists whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import edgeinfer
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.plan.pools import accumulate_pools
from edgeinfer.convert.plan.verify import PlanError, verify_plan
from edgeinfer.convert.program import Buffer, Operation, Placement, Plan, Program, Step, Value
from edgeinfer.convert.write import write_model
from tests.kernels.draw import LIMITS, Draw, seeds
from tests.oracle.requantize import requantize
from tests.requirements import require_module

Params = dict[str, int | float]


def mean_params(image: tuple[int, ...], **changes: int | float) -> Params:
    """A window over the whole image."""
    return {
        "kernel_h": image[1], "kernel_w": image[2], "stride_h": 1, "stride_w": 1, "pad_top": 0,
        "pad_left": 0, "count_include_pad": 0, "integer_mean": 0, "in_zero_point": 3,
        "multiplier": 0.75, "out_zero_point": -5, "clamp_min": -128, "clamp_max": 127, **changes,
    }  # fmt: skip


def pool_of(x: Value, params: Params) -> Operation:
    y = Value("y", (x.shape[0], 1, 1, x.shape[3]), x.dtype)
    return Operation("avg_pool2d", [x], [y], params, "pool")


def sum_of(x: Value, params: Params, shape: tuple[int, ...]) -> Operation:
    return Operation("reduce_sum", [x], [Value("y", shape, x.dtype)], params, "sum")


def program_of(pool: Operation) -> Program:
    """What is pooled is the larger of a graph input and a constant."""
    x = pool.inputs[0]
    assert x is not None
    source = Value("x", x.shape, x.dtype)
    floor = Value("floor", (1,), x.dtype, data=np.full(1, 7, x.dtype))
    raise_ = Operation("maximum", [source, floor], [x], {"reserved": 0}, "raise")
    return Program("main", [source], pool.outputs, [raise_, pool])


def row_by_row(program: Program) -> Plan:
    """The pooled image and its sums are rings of one row; every step of them is a row."""
    raised, sums = (operation.output for operation in program.operations[:2])
    (source,), (result,) = program.inputs, program.outputs
    height = raised.shape[1]
    steps = []
    for row in range(raised.rows):
        steps += [Step(0, row, row + 1), Step(1, row, row + 1)]
        if row % height == height - 1:
            steps.append(Step(2, row // height, row // height + 1))
    buffers: list[Buffer] = []
    placements: dict[Value, Placement] = {}
    offset = 0
    for value, rows in ((source, source.rows), (raised, 1), (sums, 1), (result, result.rows)):
        size = rows * value.row_bytes
        placements[value] = Placement(len(buffers), 0, rows)
        is_input, is_output = value is source, value is result
        buffers.append(Buffer(size, 0, len(steps) - 1, offset, is_input, is_output))
        end, offset = offset + size, offset + -(-size // 64) * 64
    return Plan(program, list(program.operations), buffers, placements, steps, end, 0)


def results_of(program: Program, plan: Plan, x: np.ndarray, **options: Any) -> np.ndarray:
    with edgeinfer.load(write_model([(program, plan)], {}), **options) as model:
        return model.run(x)


def drawn_mean(draw: Draw, x: Value) -> tuple[Operation, Callable[[np.ndarray], np.ndarray]]:
    """A mean of whole images, and the same in NumPy."""
    height, width = x.shape[1:3]
    larger = draw.choice([0, 0, 3])  # a window that goes beyond the image
    params = mean_params(
        (0, height + larger, width + larger),
        count_include_pad=draw.integer(0, 1),
        integer_mean=draw.integer(0, 1),
        in_zero_point=draw.zero_point(x.dtype),
        multiplier=float(np.float32(draw.choice([1.0, 0.37, 1.7, -1.0]))),
        out_zero_point=draw.zero_point(x.dtype),
        **dict(zip(("clamp_min", "clamp_max"), draw.clamp(x.dtype), strict=True)),
    )
    clamp = (int(params["clamp_min"]), int(params["clamp_max"]))
    count = height * width
    if params["count_include_pad"]:
        count = (height + larger) * (width + larger)

    def mean(image: np.ndarray) -> np.ndarray:
        sums = image.astype(np.int64).sum((1, 2), keepdims=True)
        if params["integer_mean"]:
            magnitude = (np.abs(sums) + count // 2) // count
            return np.clip(np.sign(sums) * magnitude, *clamp).astype(x.dtype)
        sums -= height * width * int(params["in_zero_point"])
        factor = np.float32(params["multiplier"]) / np.float32(count)
        return requantize(sums, factor, int(params["out_zero_point"]), clamp, x.dtype)

    return pool_of(x, params), mean


def drawn_sum(draw: Draw, x: Value) -> tuple[Operation, Callable[[np.ndarray], np.ndarray]]:
    """A sum over height and width, and the same in NumPy."""
    clamp = draw.clamp(x.dtype)
    params: Params = {
        "axes": 6,
        "multiplier": float(np.float32(draw.choice([1.0, 0.01, 0.0371, -0.5]))),
        "offset": float(np.float32(draw.uniform(-200, 200))),
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }
    images, channels = x.shape[0], x.shape[3]
    shape = (images, channels) if draw.flag() else (images, 1, 1, channels)

    def total(image: np.ndarray) -> np.ndarray:
        sums = image.astype(np.int64).sum((1, 2)).astype(np.float32)
        scaled = sums * np.float32(params["multiplier"]) + np.float32(params["offset"])
        bounded = np.clip(scaled, *(np.float32(end) for end in clamp))
        return np.rint(bounded).astype(x.dtype).reshape(shape)

    return sum_of(x, params, shape), total


@pytest.mark.parametrize("kind", ["mean", "sum"])
@given(seeds)
def test_results_have_the_same_bits(kind: str, seed: int) -> None:
    draw = Draw(seed)
    channels = draw.choice([1, 3, 8, 13, 32, 64, 70])
    shape = (draw.integer(1, 3), draw.integer(2, 7), draw.integer(1, 9), channels)
    dtypes = ["int8", "int16"] if kind == "mean" else ["int8", "uint8", "int16"]
    x = Value("raised", shape, draw.choice(dtypes))
    pool, oracle = (drawn_mean if kind == "mean" else drawn_sum)(draw, x)
    program = program_of(pool)
    data = draw.values(shape, x.dtype)
    expected = oracle(np.maximum(data, np.array(7, x.dtype)))
    np.testing.assert_array_equal(results_of(program, plan_program(program), data), expected)

    changed = accumulate_pools(program)
    assert [op.operator for op in changed.operations[1:]] == ["accumulate_rows", "rescale_sums"]
    plan = row_by_row(changed)
    verify_plan(changed, plan)
    for each in (plan, plan_program(changed)):
        for tier in ("scalar", None):
            options = {"tier": tier} if tier else {}
            np.testing.assert_array_equal(results_of(changed, each, data, **options), expected)


@pytest.mark.parametrize("kind", ["mean", "sum"])
@settings(max_examples=10)
@given(seeds)
def test_the_other_engine_gives_the_same(kind: str, seed: int) -> None:
    require_module("numba")
    draw = Draw(seed)
    shape = (draw.integer(1, 2), draw.integer(2, 5), draw.integer(1, 4), draw.integer(1, 9))
    x = Value("raised", shape, draw.choice(["int8", "int16"]))
    pool, _ = (drawn_mean if kind == "mean" else drawn_sum)(draw, x)
    changed = accumulate_pools(program_of(pool))
    plan, data = row_by_row(changed), draw.values(shape, x.dtype)
    np.testing.assert_array_equal(
        results_of(changed, plan, data, engine="numba"), results_of(changed, plan, data)
    )


def image(*shape: int, dtype: str = "int8") -> Value:
    return Value("raised", shape, dtype)


@pytest.mark.parametrize(
    "pool",
    [
        pool_of(image(1, 1, 9, 4), mean_params((1, 1, 9, 4))),
        pool_of(image(1, 5, 4, 4), mean_params((1, 5, 4, 4), pad_top=1)),
        pool_of(image(1, 5, 4, 4), mean_params((1, 5, 4, 4), kernel_h=4)),
        pool_of(image(1, 5, 4, 4), mean_params((1, 5, 4, 4), kernel_w=3)),
        pool_of(
            image(1, 2, 2, 1),
            mean_params((0, 2**16, 2**16), count_include_pad=1),
        ),
        pool_of(image(1, 256, 256, 1, dtype="int16"), mean_params((1, 256, 256, 1))),
        sum_of(image(2, 3, 4, 5), {"axes": 2}, (2, 1, 4, 5)),
        sum_of(image(2, 3, 4, 5), {"axes": 14}, (2, 1, 1, 1)),
        sum_of(image(3, 4, 5), {"axes": 3}, (5,)),
        Operation("reduce_f32", [image(1, 3, 4, 5, dtype="float32")], [image(1, 5)], {"axes": 6}),
    ],
    ids=[
        "one row", "padded", "not all rows", "not all columns", "divisor", "large sums",
        "one axis", "three axes", "rank 3", "float32",
    ],
)  # fmt: skip
def test_what_is_no_global_pool_stays(pool: Operation) -> None:
    program = program_of(pool)
    changed = accumulate_pools(program)
    assert changed is not program
    assert changed.operations == program.operations


def test_a_pool_of_a_constant_stays() -> None:
    x = Value("x", (1, 2, 2, 1), "int8", data=np.zeros((1, 2, 2, 1), np.int8))
    program = Program("main", [], [], [pool_of(x, mean_params(x.shape))])
    assert accumulate_pools(program).operations == program.operations


def test_all_else_is_kept() -> None:
    program = program_of(pool_of(image(1, 4, 4, 4), mean_params((1, 4, 4, 4))))
    before = list(program.operations)
    changed = accumulate_pools(program)
    assert program.operations == before
    assert changed.operations[0] is before[0]
    assert (changed.name, changed.inputs, changed.outputs) == (
        "main",
        program.inputs,
        program.outputs,
    )
    accumulate, rescale = changed.operations[1:]
    assert accumulate.inputs == before[1].inputs
    assert rescale.outputs == before[1].outputs
    assert accumulate.name == rescale.name == "pool"
    assert accumulate.output.shape == (1, 4, 1, 4)


def test_sums_that_are_written_over_between_two_rows_are_missed() -> None:
    """Another tensor has the bytes of the ring of sums, and takes turns with them."""
    program = program_of(pool_of(image(1, 3, 4, 16), mean_params((1, 3, 4, 16))))
    changed = accumulate_pools(program)
    sums = changed.operations[1].output
    other = image(1, 3, 4, 16)
    changed.operations.append(
        Operation("maximum", changed.operations[0].inputs, [other], {"reserved": 0}, "other")
    )
    plan = row_by_row(changed)
    verified = plan.steps.copy()
    plan.placements[other] = plan.placements[sums]

    plan.steps += [Step(3, row, row + 1) for row in range(3)]
    for buffer in plan.buffers:
        buffer.last_step = len(plan.steps) - 1
    verify_plan(changed, plan)

    plan.steps = [*verified[:2], Step(3, 0, 1), *verified[2:], Step(3, 1, 2), Step(3, 2, 3)]
    with pytest.raises(PlanError, match="reads 'y/sums', whose bytes are not there"):
        verify_plan(changed, plan)
    with pytest.raises(
        edgeinfer.ModelFileError, match=r"row 0 is read after tensor .* was written"
    ):
        edgeinfer.load(write_model([(changed, plan)], {}))


def test_a_step_that_has_no_row_above_is_refused() -> None:
    changed = accumulate_pools(program_of(pool_of(image(1, 3, 4, 16), mean_params((1, 3, 4, 16)))))
    plan = row_by_row(changed)
    raised = changed.operations[0].output
    plan.placements[raised] = Placement(len(plan.buffers), 0, 3)
    plan.buffers.append(Buffer(raised.nbytes, 0, 5, 1024))
    plan.arena_bytes = 1024 + raised.nbytes
    plan.steps = [Step(0, 0, 3), Step(1, 1, 2), Step(1, 0, 1), Step(1, 2, 3), Step(2, 0, 1)]
    for buffer in plan.buffers:
        buffer.last_step = len(plan.steps) - 1
    with pytest.raises(edgeinfer.ModelFileError, match="rows 0 to 1 are read, only 0 are written"):
        edgeinfer.load(write_model([(changed, plan)], {}))


def test_limits_are_those_of_the_operator() -> None:
    """The largest image whose sums fit is taken."""
    for dtype, (low, high) in LIMITS.items():
        if dtype not in ("int8", "uint8", "int16"):
            continue
        pixels = (2**31 - 1) // max(-low, high)
        for extra, taken in ((0, 3), (1, 2)):
            x = Value("raised", (1, pixels // 2 + extra, 2, 1), dtype)
            program = program_of(
                sum_of(
                    x,
                    {
                        "axes": 6,
                        "multiplier": 1.0,
                        "offset": 0.0,
                        "clamp_min": low,
                        "clamp_max": high,
                    },
                    (1, 1, 1, 1),
                )
            )
            assert len(accumulate_pools(program).operations) == taken
