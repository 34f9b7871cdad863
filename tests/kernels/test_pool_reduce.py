"""Pooling, sums, softmax and argmax give NumPy's bits through whole files: whole, and in bands over
the smallest rings where they work row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, note

from edgeinfer.convert.program import Operation, Value
from tests.kernels.draw import LIMITS, Draw, Shape, often, seeds
from tests.kernels.run_operation import (
    RowRange,
    all_rows,
    check_bits,
    constant,
    run_whole,
    same_rows,
)
from tests.oracle import pooling
from tests.oracle.requantize import requantize

# Less than a vector of 8 or 32, not whole ones, more than the 64 that a kernel works on at once.
CHANNELS = [1, 2, 3, 5, 8, 13, 31, 32, 40, 64, 65, 130]


def rows_of(shape: Shape) -> int:
    return Value("", shape, "int8").rows


@dataclass(frozen=True)
class Axis:
    """Windows along one axis, each with a tap inside."""

    size: int
    kernel: int
    stride: int
    dilation: int
    pad: int
    out: int

    def taps(self, o: int) -> list[int]:
        positions = (o * self.stride - self.pad + k * self.dilation for k in range(self.kernel))
        return [at for at in positions if 0 <= at < self.size]


def draw_axis(draw: Draw, dilations: list[int]) -> Axis:
    size, kernel = draw.integer(1, 9), draw.integer(1, 6)
    stride, dilation = draw.integer(1, 4), draw.choice(dilations)
    pad = draw.integer(0, (kernel - 1) * dilation) if dilation <= size and draw.flag() else 0
    # The last window may start at the last element.
    return Axis(
        size, kernel, stride, dilation, pad, draw.integer(1, (size - 1 + pad) // stride + 1)
    )


@dataclass(frozen=True)
class Window:
    batch: int
    height: Axis
    width: Axis
    channels: int

    @property
    def x(self) -> Shape:
        return self.batch, self.height.size, self.width.size, self.channels

    @property
    def y(self) -> Shape:
        return self.batch, self.height.out, self.width.out, self.channels

    def params(self, *names: str) -> dict[str, int | float]:
        pairs = {"h": self.height, "w": self.width}
        return {
            **{f"{n}_{side}": getattr(axis, n) for n in names for side, axis in pairs.items()},
            "pad_top": self.height.pad,
            "pad_left": self.width.pad,
        }

    def taps(self, x: np.ndarray, oy: int, ox: int) -> np.ndarray:
        """What the window of an output pixel sees: [N, taps, C] in int64."""
        seen = x[:, self.height.taps(oy)][:, :, self.width.taps(ox)]
        return seen.reshape(x.shape[0], -1, x.shape[3]).astype(np.int64)

    def reads(self, begin: int, end: int) -> tuple[int, int]:
        h = self.height
        first_image, first_row = divmod(begin, h.out)
        last_image, last_row = divmod(end - 1, h.out)
        first = first_row * h.stride - h.pad
        last = last_row * h.stride - h.pad + (h.kernel - 1) * h.dilation + 1
        low = first_image * h.size + min(max(first, 0), h.size)
        high = last_image * h.size + min(max(last, 0), h.size)
        return low, max(low, high)


def draw_window(draw: Draw, dilations: list[int]) -> Window:
    height, width = draw_axis(draw, dilations), draw_axis(draw, dilations)
    window = Window(draw.integer(1, 3), height, width, draw.choice(CHANNELS))
    note(str(window))
    return window


@often
@given(seeds)
def test_avg_pool2d(seed: int) -> None:
    draw = Draw(seed)
    window, dtype = draw_window(draw, [1]), draw.choice(["int8", "int8", "int16"])
    integer_mean, include_pad = draw.flag(), draw.flag()
    x = draw.values(window.x, dtype)
    in_point, out_point = draw.zero_point(dtype), draw.zero_point(dtype)
    clamp = draw.clamp(dtype)
    multiplier = np.float32(draw.choice([1.0, 0.5, 1.7, 0.013, -1.0, 3e38]))
    y = np.empty(window.y, dtype)
    for oy, ox in np.ndindex(y.shape[1:3]):
        taps = window.taps(x, oy, ox)
        count = window.height.kernel * window.width.kernel if include_pad else taps.shape[1]
        if integer_mean:
            sums = taps.sum(1)
            magnitude = (np.abs(sums) + count // 2) // count
            y[:, oy, ox] = np.clip(np.sign(sums) * magnitude, *clamp)
        else:
            with np.errstate(over="ignore"):
                factor = multiplier / np.float32(count)
                sums = (taps - in_point).sum(1)
                y[:, oy, ox] = requantize(sums, factor, out_point, clamp, dtype)
    params = {
        **window.params("kernel", "stride"),
        "count_include_pad": int(include_pad),
        "integer_mean": int(integer_mean),
        "in_zero_point": in_point,
        "multiplier": float(multiplier),
        "out_zero_point": out_point,
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }
    operation = Operation(
        "avg_pool2d", [Value("x", x.shape, dtype)], [Value("y", y.shape, dtype)], params, "mean"
    )
    check_bits(operation, [x], y, [window.reads], draw.band())


def pool_all(x: np.ndarray, integer_mean: int) -> np.ndarray:
    """The mean of each channel of a whole image, by the operator; zero points 0."""
    low, high = LIMITS[x.dtype.name]
    _, height, width, channels = x.shape
    params: dict[str, int | float] = {
        "kernel_h": height, "kernel_w": width, "stride_h": 1, "stride_w": 1, "pad_top": 0,
        "pad_left": 0, "count_include_pad": 0, "integer_mean": integer_mean, "in_zero_point": 0,
        "multiplier": 1.0, "out_zero_point": 0, "clamp_min": low, "clamp_max": high,
    }  # fmt: skip
    y = Value("y", (1, 1, 1, channels), x.dtype.name)
    operation = Operation("avg_pool2d", [Value("x", x.shape, x.dtype.name)], [y], params, "mean")
    return run_whole(operation, [x])


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("value", ["min", "max"])
@pytest.mark.parametrize(("size", "channels"), [(17, 9), (17, 40), (181, 8), (300, 2), (300, 33)])
def test_avg_pool2d_of_a_large_image_does_not_overflow(
    dtype: str, value: str, size: int, channels: int
) -> None:
    """Sums beyond int16, and beyond int32 for int16 elements."""
    x = np.full((1, size, size, channels), getattr(np.iinfo(dtype), value), dtype)
    for integer_mean in (0, 1):
        np.testing.assert_array_equal(pool_all(x, integer_mean), x[:, :1, :1])


@pytest.mark.parametrize("size", [2, 3, 16, 17, 181, 182])
def test_avg_pool2d_rounds_integer_means_half_away_from_zero(size: int) -> None:
    """Sums that are a half, and one more or less than it, away from a whole mean."""
    count = size * size
    wholes, parts = np.meshgrid([-128, -127, -1, 0, 1, 126, 127], [-1, 0, 1])
    sums = (wholes * count + np.where(wholes < 0, 1, -1) * (count // 2) + parts).reshape(-1)
    sums = np.clip(sums, -128 * count, 127 * count)
    floors = sums // count
    x = np.repeat(floors[None, :], count, axis=0)
    x += np.arange(count)[:, None] < (sums - floors * count)[None, :]
    image = x.astype(np.int8).reshape(1, size, size, -1)
    np.testing.assert_array_equal(image.astype(np.int64).sum((0, 1, 2)), sums)
    expected = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    np.testing.assert_array_equal(pool_all(image, 1).reshape(-1), expected)


@often
@given(seeds)
def test_max_pool2d(seed: int) -> None:
    draw = Draw(seed)
    window, dtype = draw_window(draw, [1, 1, 2, 3]), draw.choice(["int8", "uint8", "int16"])
    x, clamp = draw.values(window.x, dtype), draw.clamp(dtype)
    y = np.empty(window.y, dtype)
    for oy, ox in np.ndindex(y.shape[1:3]):
        y[:, oy, ox] = np.clip(window.taps(x, oy, ox).max(1), *clamp)
    params = {
        **window.params("kernel", "stride", "dilation"),
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }
    operation = Operation(
        "max_pool2d", [Value("x", x.shape, dtype)], [Value("y", y.shape, dtype)], params, "max"
    )
    check_bits(operation, [x], y, [window.reads], draw.band())


def reduced_reads(x: Shape, y: Shape, folded: tuple[int, ...]) -> RowRange:
    """Row by row when the axes lie inside rows, and rows stay rows."""
    outer = max(len(x) - (2 if len(x) >= 4 else 1), 0)
    in_row = all(axis >= outer for axis in folded) and rows_of(x) == rows_of(y)
    return same_rows if in_row else all_rows(x)


@often
@given(seeds)
def test_reduce_sum(seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(["int8", "uint8", "int16"])
    x = draw.values(draw.shape(0, 6), dtype)
    mask = draw.integer(0, 2**x.ndim - 1)
    if x.ndim and draw.flag(0.3):  # row by row
        mask = draw.choice([1, 2, 3]) << max(x.ndim - 2, 0) & (1 << x.ndim) - 1
    folded = tuple(axis for axis in range(x.ndim) if mask >> axis & 1)
    clamp = draw.clamp(dtype)
    exponent = draw.uniform(-8, 1)
    multiplier = np.float32(draw.choice([2.0 ** round(exponent), 2.0**exponent]))
    offset = np.float32(draw.choice([0.0, 3.0, -7.5, 0.25, 1e30, -100.125]))
    sums = x.astype(np.int64).sum(folded, keepdims=draw.flag())
    scaled = sums.astype(np.float32) * multiplier + offset
    expected = np.clip(np.rint(scaled.astype(np.float64)), *clamp).astype(dtype)
    params = {
        "axes": mask,
        "multiplier": float(multiplier),
        "offset": float(offset),
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }
    y = Value("y", expected.shape, dtype)
    operation = Operation("reduce_sum", [Value("x", x.shape, dtype)], [y], params, "sum")
    note(f"{x.shape} -> {y.shape}")
    reads = [reduced_reads(x.shape, y.shape, folded)]
    check_bits(operation, [x], expected, reads, draw.band())


@pytest.mark.parametrize("mask", [0b010101, 0b101010, 0b100101, 0b110011, 0b001100])
def test_reduce_sum_over_axes_apart_from_each_other(mask: int) -> None:
    x = Draw(mask).values((2, 3, 4, 5, 2, 3), "int16")
    folded = tuple(axis for axis in range(6) if mask >> axis & 1)
    sums = x.astype(np.int64).sum(folded, keepdims=True)
    scaled = sums.astype(np.float32) * np.float32(1 / 16)
    expected = np.clip(np.rint(scaled), -32768, 32767).astype(np.int16)
    params = {
        "axes": mask, "multiplier": 1 / 16, "offset": 0.0, "clamp_min": -32768, "clamp_max": 32767,
    }  # fmt: skip
    y = Value("y", expected.shape, "int16")
    operation = Operation("reduce_sum", [Value("x", x.shape, "int16")], [y], params, "sum")
    check_bits(operation, [x], expected, [reduced_reads(x.shape, y.shape, folded)], 2)


def test_reduce_sum_as_the_oracle_of_litert_has_it() -> None:
    x = Draw(5).values((1, 7, 7, 1280), "int8")
    multiplier, offset = pooling.reduce_parameters(0.023, -3, 0.011, 5, 49, mean=True)
    expected = pooling.reduce_sum(x, (1, 2), multiplier, offset)
    params = {
        "axes": 6,
        "multiplier": float(multiplier),
        "offset": float(offset),
        "clamp_min": -128,
        "clamp_max": 127,
    }
    y = Value("y", (1, 1280), "int8")
    operation = Operation("reduce_sum", [Value("x", x.shape, "int8")], [y], params, "mean")
    check_bits(operation, [x], expected, [all_rows(x.shape)], 1)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("value", ["min", "max"])
@pytest.mark.parametrize("columns", [1, 8, 11, 40])
def test_reduce_sum_of_columns_does_not_overflow(dtype: str, value: str, columns: int) -> None:
    """Sums beyond int16, of neighbours in the result."""
    x = np.full((2, 257, columns), getattr(np.iinfo(dtype), value), dtype)
    low, high = LIMITS[dtype]
    params = {
        "axes": 3, "multiplier": 1 / 514, "offset": 0.0, "clamp_min": low, "clamp_max": high,
    }  # fmt: skip
    operation = Operation(
        "reduce_sum", [Value("x", x.shape, dtype)], [Value("y", (columns,), dtype)], params, "mean"
    )
    np.testing.assert_array_equal(run_whole(operation, [x]), x[0, 0])


@pytest.mark.parametrize(("dtype", "count"), [("int8", 2**23), ("uint8", 2**23), ("int16", 2**17)])
@pytest.mark.parametrize("value", ["min", "max"])
def test_reduce_sum_of_as_many_as_allowed_is_exact(dtype: str, count: int, value: str) -> None:
    x = np.full((count,), getattr(np.iinfo(dtype), value), dtype)
    low, high = LIMITS[dtype]
    params = {
        "axes": 1, "multiplier": 1 / count, "offset": 0.0, "clamp_min": low, "clamp_max": high,
    }  # fmt: skip
    operation = Operation(
        "reduce_sum", [Value("x", x.shape, dtype)], [Value("y", (), dtype)], params, "mean"
    )
    assert run_whole(operation, [x]) == x[0]


def softmax_table(dtype: str, step: float) -> np.ndarray:
    """Exponentials of 0, -step, -2 step ...; for int16 of the high and of the low byte."""
    low = np.exp(-step * np.arange(256))
    if dtype == "int8":
        return low.astype(np.float32)
    return np.concatenate([np.exp(-step * 256 * np.arange(256)), low]).astype(np.float32)


def softmax_terms(x: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """e and its sums along the last axis, added one after another."""
    d = x.max(axis=-1, keepdims=True).astype(np.int64) - x
    e = table[d] if table.size == 256 else table[d >> 8] * table[256 + (d & 255)]
    sums = np.zeros((*x.shape[:-1], 1), np.float32)
    for i in range(x.shape[-1]):
        sums = sums + e[..., i : i + 1]
    return e, sums


@given(seeds)
def test_softmax(seed: int) -> None:
    draw = Draw(seed)
    x_dtype = draw.choice(["int8", "int8", "int16"])
    y_dtype = draw.choice(["int8", "int8", "uint8", "int16", "float32"])
    shape = (*draw.shape(0, 5, largest=3), draw.choice([1, 2, 7, 300]))
    x = draw.values(shape, x_dtype)
    if draw.flag():  # logits that are near each other
        x = (x >> np.iinfo(x_dtype).bits // 2).astype(x_dtype)
    table = softmax_table(x_dtype, 2.0 ** draw.uniform(-9, 0))
    e, sums = softmax_terms(x, table)
    params: dict[str, int | float]
    if y_dtype == "float32":
        params = {"out_scale": 0.0, "out_zero_point": 0, "clamp_min": 0, "clamp_max": 0}
        expected = e / sums
    else:
        scale = np.float32(draw.choice([1 / 256, 1 / 256, 1 / 32768, 0.0039, 2.0**-126, 3e38]))
        zero_point, clamp = draw.zero_point(y_dtype), draw.clamp(y_dtype)
        params = {
            "out_scale": float(scale),
            "out_zero_point": zero_point,
            "clamp_min": clamp[0],
            "clamp_max": clamp[1],
        }
        with np.errstate(over="ignore", under="ignore"):
            inverse = np.float32(1) / (sums * scale)
            floor = np.floor(e * inverse + np.float32(0.5))
        expected = np.clip(floor.astype(np.float64) + zero_point, *clamp).astype(y_dtype)
    operation = Operation(
        "softmax",
        [Value("x", shape, x_dtype), constant("table", table)],
        [Value("y", shape, y_dtype)],
        params,
        "softmax",
    )
    same_size = np.dtype(x_dtype).itemsize == np.dtype(y_dtype).itemsize
    check_bits(operation, [x], expected, [same_rows], draw.band(), (0,) if same_size else ())


def extreme_of(x: np.ndarray, axis: int, minimum: bool, last: bool) -> np.ndarray:
    """The search of the specification: one element after another, all lines side by side."""
    lines = np.moveaxis(x, axis, 0)
    best, found = lines[0], np.zeros(lines.shape[1:], np.int64)
    for i in range(1, len(lines)):
        better = lines[i] < best if minimum else lines[i] > best
        if last:
            better = better | (lines[i] == best)
        best, found = np.where(better, lines[i], best), np.where(better, i, found)
    return found


@often
@given(seeds)
def test_argmax(seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(["int8", "uint8", "int16", "int32", "float32"])
    shape = draw.shape(1, 6)
    axis = draw.integer(0, len(shape) - 1)
    x = draw.values(shape, dtype)
    if dtype == "float32":
        special = np.array([0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan], np.float32)
        x = draw.rng.choice(special, shape)
    elif draw.flag():  # ties
        x = draw.rng.choice(x.reshape(-1)[:3], shape)
    minimum, last = draw.flag(), draw.flag()
    found = extreme_of(x, axis, minimum, last).astype(draw.choice(["int32", "int64"]))
    expected = np.expand_dims(found, axis) if draw.flag() else found
    params: dict[str, int | float] = {
        "axis": axis,
        "select_last": int(last),
        "minimum": int(minimum),
    }
    y = Value("y", expected.shape, expected.dtype.name)
    operation = Operation("argmax", [Value("x", shape, dtype)], [y], params, "argmax")
    note(f"{shape} -> {y.shape}")
    check_bits(operation, [x], expected, [reduced_reads(shape, y.shape, (axis,))], draw.band())
