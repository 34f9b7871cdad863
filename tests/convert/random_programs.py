"""Random programs that the runtime accepts, their meaning in NumPy, and plans run on bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from edgeinfer.convert.program import Operation, Plan, Program, Value

_SHAPES = [(1, 2, 3, 4), (2, 3, 2), (6,), (1, 1, 12), (4, 6), (1, 5, 1, 7), (3, 1, 1, 2), ()]
_LIMITS = (-128, 127)


def lut8(x: Value, y: Value, seed: int) -> Operation:
    """A random function of one byte."""
    table = np.random.default_rng(seed).integers(-128, 128, 256).astype(y.dtype)
    operand = Value(f"{y.name} table", (256,), y.dtype, data=table)
    return Operation("lut8", [x, operand], [y], {"reserved": 0}, f"make {y.name}")


def add(a: Value, b: Value, y: Value) -> Operation:
    """Saturating sum."""
    params: dict[str, int | float] = dict.fromkeys(
        ("bias_low", "bias_high", "shift", "out_zero_point"), 0
    )
    params |= {"a_multiplier": 1, "b_multiplier": 1, "clamp_min": -128, "clamp_max": 127}
    return Operation("add", [a, b], [y], params, f"make {y.name}")


def maximum(a: Value, b: Value, y: Value) -> Operation:
    """The larger of two."""
    return Operation("maximum", [a, b], [y], {"reserved": 0}, f"make {y.name}")


def copy(x: Value, y: Value) -> Operation:
    """A reshape."""
    return Operation("copy", [x], [y], {"reserved": 0}, f"make {y.name}")


def concat(inputs: Sequence[Value], y: Value, axis: int) -> Operation:
    """Inputs side by side."""
    return Operation("concat", list(inputs), [y], {"axis": axis}, f"make {y.name}")


def slice_(
    x: Value, y: Value, begin: Sequence[int], stride: Sequence[int] | None = None
) -> Operation:
    """A part of x; stride 1 when not given."""
    strides = stride or [1] * len(begin)
    params: dict[str, int | float] = {f"begin_{i}": 0 for i in range(6)}
    params |= {f"stride_{i}": 1 for i in range(6)}
    params |= {f"begin_{i}": value for i, value in enumerate(begin)}
    params |= {f"stride_{i}": value for i, value in enumerate(strides)}
    return Operation("slice", [x], [y], params, f"make {y.name}")


def transpose(x: Value, y: Value, perm: Sequence[int]) -> Operation:
    """An operator that never works in place."""
    params: dict[str, int | float] = {f"perm_{i}": i for i in range(6)}
    params |= {f"perm_{i}": axis for i, axis in enumerate(perm)}
    return Operation("transpose", [x], [y], params, f"make {y.name}")


def max_pool(
    x: Value, y: Value, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1
) -> Operation:
    """The largest in a square window; an operator that reads by rows."""
    params: dict[str, int | float] = {"clamp_min": -128, "clamp_max": 127}
    params |= {"kernel_h": kernel, "kernel_w": kernel, "pad_top": pad, "pad_left": pad}
    params |= {"stride_h": stride, "stride_w": stride}
    params |= {"dilation_h": dilation, "dilation_w": dilation}
    return Operation("max_pool2d", [x], [y], params, f"make {y.name}")


def compute(operation: Operation, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """What an operation of this module gives."""
    y, params = operation.output, operation.params
    if operation.operator == "lut8":
        x, table = inputs
        return table[x.view(np.uint8)]
    if operation.operator == "add":
        return np.clip(inputs[0].astype(int) + inputs[1], *_LIMITS).astype(np.int8)
    if operation.operator == "maximum":
        return np.maximum(*inputs)
    if operation.operator == "copy":
        return inputs[0].reshape(y.shape)
    if operation.operator == "concat":
        return np.concatenate(inputs, axis=int(params["axis"]))
    if operation.operator == "max_pool2d":
        return _max_pool(operation, inputs[0])
    axes = range(len(y.shape))
    if operation.operator == "slice":
        taken = [
            int(params[f"begin_{i}"]) + np.arange(y.shape[i]) * int(params[f"stride_{i}"])
            for i in axes
        ]
        return inputs[0][np.ix_(*taken)] if taken else inputs[0]
    assert operation.operator == "transpose"
    return inputs[0].transpose([int(params[f"perm_{i}"]) for i in axes])


def _max_pool(operation: Operation, x: np.ndarray) -> np.ndarray:
    params = {name: int(value) for name, value in operation.params.items()}
    images, height, width, channels = operation.output.shape
    result = np.full(operation.output.shape, -128, x.dtype)
    for n, row, column in np.ndindex(images, height, width):
        for tap_row, tap_column in np.ndindex(params["kernel_h"], params["kernel_w"]):
            iy = row * params["stride_h"] - params["pad_top"] + tap_row * params["dilation_h"]
            ix = (
                column * params["stride_w"] - params["pad_left"] + tap_column * params["dilation_w"]
            )
            if 0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]:
                result[n, row, column] = np.maximum(result[n, row, column], x[n, iy, ix])
    assert channels == x.shape[3]
    return result


def evaluate(program: Program, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Graph outputs, from the program alone."""
    known = dict(zip(program.inputs, inputs, strict=True))
    for operation in program.operations:
        operands = [_constant_or(value, known.__getitem__) for value in operation.inputs]
        known[operation.output] = compute(operation, operands)
    return [known[value] for value in program.outputs]


def run_plan(
    program: Program, plan: Plan, inputs: Sequence[np.ndarray], *, rebind: bool
) -> list[np.ndarray]:
    """Graph outputs, from running the plan on an arena of bytes.

    With `rebind` graph inputs and outputs lie in memory of the caller, as the runtime may have it.
    """
    chance = np.random.default_rng(0)
    arena = chance.integers(0, 256, plan.arena_bytes, np.uint8)
    memory = []
    for buffer in plan.buffers:
        if rebind and (buffer.is_input or buffer.is_output):
            memory.append(chance.integers(0, 256, buffer.bytes, np.uint8))
        else:
            memory.append(arena[buffer.offset : buffer.offset + buffer.bytes])

    def view(value: Value) -> np.ndarray:
        placement = plan.placements[value]
        data = memory[placement.buffer][placement.offset : placement.offset + value.nbytes]
        return data.view(value.dtype).reshape(value.shape)

    for value, given in zip(program.inputs, inputs, strict=True):
        view(value)[...] = given
    for step in plan.steps:
        operation = plan.operations[step.operation]
        assert (step.row_begin, step.row_end) == (0, operation.output.rows)
        result = compute(operation, [_constant_or(value, view) for value in operation.inputs])
        view(operation.output)[...] = result
    if rebind:
        for value, given in zip(program.inputs, inputs, strict=True):
            np.testing.assert_array_equal(view(value), given, "the caller's input was written")
    return [view(value).copy() for value in program.outputs]


def _constant_or(value: Value | None, find: Callable[[Value], np.ndarray]) -> np.ndarray:
    assert value is not None
    return find(value) if value.data is None else value.data


def random_inputs(program: Program, seed: int = 0) -> list[np.ndarray]:
    """Any values."""
    chance = np.random.default_rng(seed)
    return [chance.integers(-128, 128, v.shape).astype(v.dtype) for v in program.inputs]


@st.composite
def programs(draw: st.DrawFn, max_operations: int = 14) -> Program:
    """Programs with branches, views, results that may be written in place, and several outputs."""
    dtypes = st.sampled_from(["int8", "int8", "int8", "int32"])
    inputs = [
        Value(f"in{i}", draw(st.sampled_from(_SHAPES)), draw(dtypes))
        for i in range(draw(st.integers(1, 3)))
    ]
    values = list(inputs)
    operations: list[Operation] = []
    for number in range(draw(st.integers(1, max_operations))):
        # Often a recent value: long chains are what views and in-place merges live on.
        recent = values[-3:] if draw(st.booleans()) else values
        x = draw(st.sampled_from(recent))
        operation = _random_operation(draw, x, values, f"v{number}")
        operations.append(operation)
        values.append(operation.output)
    made = [operation.output for operation in operations]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique_by=id))
    return Program("main", inputs, outputs, operations)


def _random_operation(draw: st.DrawFn, x: Value, values: Sequence[Value], name: str) -> Operation:
    rank = len(x.shape)
    kinds = ["copy", "transpose", "maximum"]
    kinds += ["lut8", "add"] * 2 if x.dtype == "int8" else []
    kinds += ["slice", "slice", "concat", "concat"] if rank else []
    kind = draw(st.sampled_from(kinds))
    if kind == "lut8":
        dtype = draw(st.sampled_from(["int8", "int8", "int32"]))
        return lut8(x, Value(name, x.shape, dtype), draw(st.integers(0, 99)))
    if kind == "copy":
        return copy(x, Value(name, draw(st.sampled_from(_other_shapes(x.shape))), x.dtype))
    if kind == "transpose":
        perm = draw(st.permutations(range(rank)))
        return transpose(x, Value(name, tuple(x.shape[i] for i in perm), x.dtype), perm)
    if kind in ("add", "maximum"):
        others = [v for v in values if v.dtype == x.dtype and _broadcasts(v.shape, x.shape)]
        a, b = x, draw(st.sampled_from(others))
        if draw(st.booleans()):
            a, b = b, a
        y = Value(name, x.shape, x.dtype)
        return add(a, b, y) if kind == "add" else maximum(a, b, y)
    axis = draw(st.integers(0, rank - 1))
    if kind == "slice":
        begin, size, stride = [0] * rank, list(x.shape), [1] * rank
        for i in {axis, draw(st.integers(0, rank - 1))}:
            begin[i] = draw(st.integers(0, x.shape[i] - 1))
            stride[i] = draw(st.sampled_from([1, 1, 1, 2, -1]))
            room = begin[i] if stride[i] < 0 else x.shape[i] - 1 - begin[i]
            size[i] = draw(st.integers(1, room // abs(stride[i]) + 1))
        return slice_(x, Value(name, tuple(size), x.dtype), begin, stride)
    others = [v for v in values if v.dtype == x.dtype and _joins(v.shape, x.shape, axis)]
    parts = [x, *draw(st.lists(st.sampled_from(others), max_size=3))]
    parts = draw(st.permutations(parts))
    if draw(st.integers(0, 7)) == 0:
        fixed = np.arange(x.nbytes // np.dtype(x.dtype).itemsize, dtype=x.dtype).reshape(x.shape)
        parts.append(Value(f"{name} constant", x.shape, x.dtype, data=fixed))
    shape = list(x.shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return concat(parts, Value(name, tuple(shape), x.dtype), axis)


def _other_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    count = int(np.prod(shape, dtype=int))
    shapes = [shape, (count,), (1, count, 1, 1), (1, 1, count)]
    return shapes + [(2, count // 2), (1, count // 2, 2)] * (count % 2 == 0)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) == len(to) and all(a in (1, b) for a, b in zip(shape, to, strict=True))


def _joins(shape: tuple[int, ...], other: tuple[int, ...], axis: int) -> bool:
    rest = [(a, b) for i, (a, b) in enumerate(zip(shape, other, strict=False)) if i != axis]
    return len(shape) == len(other) and all(a == b for a, b in rest)
