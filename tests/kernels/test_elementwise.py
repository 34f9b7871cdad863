"""Operators that work element by element give the bits of NumPy through whole files: whole, in
bands over the smallest rings, and in place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, note

import edgeinfer
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model
from tests.kernels.draw import ALL_DTYPES, Draw, Shape, often, seeds
from tests.kernels.run_operation import (
    RowRange,
    all_rows,
    check_bits,
    constant,
    run_whole,
    same_rows,
)
from tests.oracle import elementwise


@dataclass(frozen=True)
class Operands:
    """Shapes that broadcast to `y`."""

    a: Shape
    b: Shape

    @property
    def y(self) -> Shape:
        return np.broadcast_shapes(self.a, self.b)

    def reads(self, shape: Shape) -> RowRange:
        """The same rows where an operand has all of y's outer axes, else all of it."""
        inside = 2 if len(self.y) >= 4 else 1
        outer = max(len(self.y) - inside, 0)
        aligned = (1,) * (len(self.y) - len(shape)) + shape
        follows = aligned[:outer] == self.y[:outer]
        if follows and Value("", shape, "int8").rows == Value("", self.y, "int8").rows:
            return same_rows
        return all_rows(shape)

    def check(
        self,
        operation: Operation,
        a: np.ndarray,
        b: np.ndarray,
        y: np.ndarray,
        band: int,
        *,
        in_bands: bool = True,
    ) -> None:
        in_place = tuple(i for i, shape in enumerate((self.a, self.b)) if shape == self.y)
        reads = [self.reads(self.a), self.reads(self.b)]
        check_bits(operation, [a, b], y, reads, band, in_place, in_bands=in_bands)


def draw_operands(draw: Draw) -> Operands:
    """Of equal shapes, or one or both stretched in any way."""
    y = draw.shape(0, 6)

    def stretched() -> Shape:
        kind = draw.choice(["axes", "axes", "one", "last", "row"])
        if kind == "one":
            return (1,) * draw.integer(0, len(y))
        if kind == "last":
            return y[-1:]
        if kind == "row":
            return y[-2:]
        kept = tuple(dim if draw.flag() else 1 for dim in y)
        return kept[draw.integer(0, len(y)) if draw.flag() else 0 :]

    shapes = [
        (y, y),
        (y, stretched()),
        (stretched(), y),
        (y, stretched()),
        (stretched(), y),
        (stretched(), stretched()),
    ]
    operands = Operands(*draw.choice(shapes))
    note(str(operands))
    return operands


def binary(operator: str, a: np.ndarray, b: np.ndarray, shape: Shape, **params) -> Operation:
    dtype = a.dtype.name
    inputs: list[Value | None] = [Value("a", a.shape, dtype), Value("b", b.shape, dtype)]
    return Operation(operator, inputs, [Value("y", shape, dtype)], params, operator)


def draw_add_parameters(draw: Draw, dtype: str) -> elementwise.AddParameters:
    """As a converter makes them, or as large as the contract allows."""
    if draw.flag(0.6):
        scales = [2.0 ** draw.uniform(-6, 2) for _ in range(2)]
        points = [draw.zero_point(dtype) for _ in range(2)]
        p = elementwise.add_parameters(
            scales[0], points[0], scales[1], points[1], 1.0, subtract=draw.flag()
        )
        if dtype == "int16" or 128 * (abs(p[0]) + abs(p[1])) + abs(p.bias) < 2**31:
            return p
    if dtype == "int8":
        a, b = draw.integer(-(2**22), 2**22), draw.integer(-(2**22), 2**22)
        room = 2**31 - 1 - 128 * (abs(a) + abs(b))
        bias = draw.choice([-room, 0, room, draw.integer(-room, room)])
        return elementwise.AddParameters(a, b, bias, draw.integer(0, 30))
    words = [-(2**31), 2**31 - 1, draw.integer(-(2**31), 2**31 - 1)]
    bias = draw.choice([-(2**62), 0, 2**62, draw.integer(-(2**62), 2**62)])
    return elementwise.AddParameters(
        draw.choice(words), draw.choice(words), bias, draw.integer(0, 62)
    )


def add_params(
    p: elementwise.AddParameters, zero_point: int, clamp: tuple[int, int]
) -> dict[str, int | float]:
    low_word = p.bias & 0xFFFFFFFF
    return {
        "a_multiplier": p.a_multiplier,
        "b_multiplier": p.b_multiplier,
        "bias_low": low_word - 2**32 if low_word >= 2**31 else low_word,
        "bias_high": p.bias >> 32,
        "shift": p.shift,
        "out_zero_point": zero_point,
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }


@often
@given(seeds)
def test_add(seed: int) -> None:
    draw = Draw(seed)
    shapes, dtype = draw_operands(draw), draw.choice(["int8", "int8", "int16"])
    p = draw_add_parameters(draw, dtype)
    zero_point, clamp = draw.zero_point(dtype), draw.clamp(dtype)
    a, b = draw.values(shapes.a, dtype), draw.values(shapes.b, dtype)
    expected = elementwise.add(a, b, p, zero_point, clamp, dtype)
    operation = binary("add", a, b, shapes.y, **add_params(p, zero_point, clamp))
    shapes.check(operation, a, b, expected, draw.band())


@given(seeds)
def test_mul(seed: int) -> None:
    draw = Draw(seed)
    shapes, dtype = draw_operands(draw), draw.choice(["int8", "int8", "int16"])
    points = [draw.zero_point(dtype) for _ in range(3)]
    clamp = draw.clamp(dtype)
    exponent = draw.uniform(-20, 2) if dtype == "int8" else draw.uniform(-36, -10)
    tie = 2.0 ** round(exponent)
    multiplier = draw.choice([2.0**exponent, tie, -tie, 0.0, 3e38, -3e38, 1e-45])
    multiplier = float(np.float32(multiplier))
    a, b = draw.values(shapes.a, dtype), draw.values(shapes.b, dtype)
    with np.errstate(over="ignore"):
        expected = elementwise.mul(
            a, points[0], b, points[1], np.float32(multiplier), points[2], clamp, dtype
        )
    operation = binary(
        "mul", a, b, shapes.y, a_zero_point=points[0], b_zero_point=points[1],
        multiplier=multiplier, out_zero_point=points[2], clamp_min=clamp[0], clamp_max=clamp[1],
    )  # fmt: skip
    shapes.check(operation, a, b, expected, draw.band())


@pytest.mark.parametrize("operator", ["maximum", "minimum"])
@given(seed=seeds)
def test_maximum_and_minimum(operator: str, seed: int) -> None:
    draw = Draw(seed)
    shapes, dtype = draw_operands(draw), draw.choice(["int8", "uint8", "int16", "int32"])
    a, b = draw.values(shapes.a, dtype), draw.values(shapes.b, dtype)
    expected = getattr(np, operator)(a, b)
    operation = binary(operator, a, b, shapes.y, reserved=0)
    shapes.check(operation, a, b, expected, draw.band())


@pytest.mark.parametrize("constant_operand", [0, 1])
@given(seed=seeds)
def test_a_constant_operand(constant_operand: int, seed: int) -> None:
    draw = Draw(seed)
    shapes = draw_operands(draw)
    a, b = draw.values(shapes.a, "int8"), draw.values(shapes.b, "int8")
    operation = binary("maximum", a, b, shapes.y, reserved=0)
    operation.inputs[constant_operand] = constant("constant", [a, b][constant_operand])
    other = 1 - constant_operand
    reads = [shapes.reads((shapes.a, shapes.b)[other])]
    check_bits(operation, [[a, b][other]], np.maximum(a, b), reads, draw.band())


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("gates", [(60,), (1, 1, 60), (2, 1, 1, 60), (2, 3, 1, 60), (3, 1, 60)])
def test_an_operand_that_repeats_along_many_pixels(gates: Shape, swapped: bool, dtype: str) -> None:
    """Of each image, of each line, or of all: more pixels than its copies at a time are for."""
    draw = Draw(len(gates))
    x, gate = draw.values((2, 3, 70, 60), dtype), draw.values(gates, dtype)
    shapes = Operands(*((gates, x.shape) if swapped else (x.shape, gates)))
    operands = (gate, x) if swapped else (x, gate)
    operation = binary("maximum", *operands, shapes.y, reserved=0)
    shapes.check(operation, *operands, np.maximum(x, gate), 2)


@given(seeds)
def test_both_operands_the_same_tensor(seed: int) -> None:
    draw = Draw(seed)
    data = draw.values(draw.shape(0, 6), "int8")
    x, y = Value("x", data.shape, "int8"), Value("y", data.shape, "int8")
    params = add_params(elementwise.AddParameters(3, -1, 0, 0), 0, (-128, 127))
    program = Program("main", [x], [y], [Operation("add", [x, x], [y], params)])
    model = edgeinfer.load(write_model([(program, plan_program(program))], {}))
    expected = np.clip(data.astype(np.int64) * 2, -128, 127).astype(np.int8)
    np.testing.assert_array_equal(model.run({"x": data}), expected)


def random_table(draw: Draw, size: int, dtype: str) -> np.ndarray:
    bits = draw.rng.integers(0, 256, size * np.dtype(dtype).itemsize, np.uint8)
    return (bits & 1).astype(bool) if dtype == "bool" else bits.view(dtype)


def lut(operator: str, x: np.ndarray, table: np.ndarray) -> Operation:
    return Operation(
        operator,
        [Value("x", x.shape, x.dtype.name), constant("table", table)],
        [Value("y", x.shape, table.dtype.name)],
        {"reserved": 0},
        "table",
    )


@given(seeds)
def test_lut8(seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(0, 6), draw.choice(["int8", "uint8"]))
    table = random_table(draw, 256, draw.choice(ALL_DTYPES))
    in_place = (0,) if table.itemsize == 1 else ()
    expected = table[x.view(np.uint8)]
    check_bits(lut("lut8", x, table), [x], expected, [same_rows], draw.band(), in_place)


def test_lut8_copies_the_bits_of_a_nan() -> None:
    table = np.full(256, np.nan, np.float32)
    table.view(np.uint32)[:] += np.arange(256, dtype=np.uint32)
    x = np.arange(-128, 128).astype(np.int8)
    bits = run_whole(lut("lut8", x, table), [x]).view(np.uint32)
    np.testing.assert_array_equal(bits, table[x.view(np.uint8)].view(np.uint32))


def interpolate(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """lut16 of the specification, in unbounded integers."""
    entries = [int(entry) for entry in table]
    result = []
    for value in x.reshape(-1).tolist():
        i = 256 + (value >> 7)
        step = (entries[i + 1] - entries[i]) * (value & 127)
        result.append(entries[i] + ((step + 64) >> 7))
    return np.array(result).astype(np.int16).reshape(x.shape)


@given(seeds)
def test_lut16(seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(0, 6), "int16")
    table = draw.choice(
        [
            draw.values((513,), "int16"),
            np.resize(np.array([-32768, 32767], np.int16), 513),
            np.linspace(-32768, 32767, 513).astype(np.int16),
        ]
    )
    expected = interpolate(x, table)
    check_bits(lut("lut16", x, table), [x], expected, [same_rows], draw.band(), (0,))


def test_lut16_of_every_input() -> None:
    x = np.arange(-32768, 32768).astype(np.int16).reshape(256, 256)
    table = Draw(3).values((513,), "int16")
    check_bits(lut("lut16", x, table), [x], interpolate(x, table), [same_rows], 7, (0,))
