"""Operators that move elements without looking at them give NumPy's result for every dtype, through
whole files: whole, and in bands over the smallest rings where they work row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note

import edgeinfer
from edgeinfer.convert.program import Operation, Value
from edgeinfer.convert.write import write_model
from tests.core.guarded import checksums
from tests.kernels.draw import ALL_DTYPES, Draw, Shape, often, seeds
from tests.kernels.run_operation import (
    RowRange,
    all_rows,
    check_bits,
    check_in_bands,
    constant,
    plan_whole,
    run_streamed,
    run_whole,
)


def outer_axes(shape: Shape) -> int:
    """Axes that rows count through."""
    return max(len(shape) - (2 if len(shape) >= 4 else 1), 0)


def rows_read(source: np.ndarray, x: Shape, y: Shape) -> RowRange:
    """Which rows of x a band of y reads, given where every element of y comes from.

    `source` has the shape of y and holds the flat index in x of every element, or -1.
    """
    width = int(np.prod(x[outer_axes(x) :]))
    rows = np.where(source < 0, -1, source // width).reshape(Value("", y, "int8").rows, -1)

    def reads(begin: int, end: int) -> tuple[int, int]:
        touched = rows[begin:end][rows[begin:end] >= 0]
        return (int(touched.min()), int(touched.max()) + 1) if touched.size else (0, 0)

    return reads


def numbered(shape: Shape) -> np.ndarray:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def unary(operator: str, x: np.ndarray, y: np.ndarray, params: dict) -> Operation:
    inputs: list[Value | None] = [Value("x", x.shape, x.dtype.name)]
    return Operation(operator, inputs, [Value("y", y.shape, x.dtype.name)], params, operator)


def indexed(name: str, values: tuple[int, ...], rest: int = 0) -> dict[str, int | float]:
    return {f"{name}_{i}": values[i] if i < len(values) else rest for i in range(6)}


@often
@given(seeds)
def test_concat(seed: int) -> None:
    draw = Draw(seed)
    shape, dtype = draw.shape(1, 6), draw.choice(ALL_DTYPES)
    axis = draw.integer(0, len(shape) - 1)
    sizes = [draw.integer(1, 4) for _ in range(draw.integer(1, 5))]
    parts = [draw.values((*shape[:axis], size, *shape[axis + 1 :]), dtype) for size in sizes]
    note(f"{[part.shape for part in parts]} along {axis}")
    expected = np.concatenate(parts, axis)
    reads = []
    for i, part in enumerate(parts):
        source = [np.full(p.shape, -1) for p in parts]
        source[i] = numbered(part.shape)
        reads.append(rows_read(np.concatenate(source, axis), part.shape, expected.shape))
    inputs: list[Value | None] = [Value(f"x{i}", p.shape, dtype) for i, p in enumerate(parts)]
    y = Value("y", expected.shape, dtype)
    operation = Operation("concat", inputs, [y], {"axis": axis}, "concat")
    check_bits(operation, parts, expected, reads, draw.band())


def test_concat_of_255_inputs() -> None:
    parts = [np.full((2, 1), i - 128, np.int8) for i in range(255)]
    inputs: list[Value | None] = [Value(f"x{i}", (2, 1), "int8") for i in range(255)]
    operation = Operation("concat", inputs, [Value("y", (2, 255), "int8")], {"axis": 1}, "concat")
    np.testing.assert_array_equal(run_whole(operation, parts), np.concatenate(parts, 1))


@often
@given(seeds)
def test_slice(seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(0, 6), draw.choice(ALL_DTYPES))
    begins, strides, counts = [], [], []
    for dim in x.shape:
        begin = draw.integer(0, dim - 1)
        stride = draw.choice([1, 1, 1, 2, 3, -1, -1, -2, 2**31 - 1, -(2**31)])
        most = (dim - 1 - begin) // stride if stride > 0 else begin // -stride
        begins.append(begin)
        strides.append(stride)
        counts.append(draw.choice([most + 1, draw.integer(1, most + 1)]))
    picks = [b + s * np.arange(n) for b, s, n in zip(begins, strides, counts, strict=True)]
    note(f"{x.shape}: begin {begins}, stride {strides}, {counts} of them")
    expected = (x[np.ix_(*picks)] if picks else x).copy()
    source = numbered(x.shape)[np.ix_(*picks)] if picks else numbered(())
    params = {**indexed("begin", tuple(begins)), **indexed("stride", tuple(strides), 1)}
    operation = unary("slice", x, expected, params)
    reads = rows_read(source, x.shape, expected.shape)
    check_bits(operation, [x], expected, [reads], draw.band())


PAD_MODES = {"constant": 0, "reflect": 1, "symmetric": 2, "edge": 3}


@pytest.mark.parametrize("mode", PAD_MODES)
@often
@given(seed=seeds)
def test_pad(mode: Any, seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(ALL_DTYPES)
    x = draw.values(draw.shape(1, 6, largest=3), dtype)
    widths = []
    for dim in x.shape:
        most = min({"reflect": dim - 1, "symmetric": dim}.get(mode, 2), 3)
        width = (draw.integer(0, most), draw.integer(0, most))
        widths.append(draw.choice([width, (0, 0)]))
    word = draw.integer(0, 1) if dtype == "bool" else draw.integer(-(2**31), 2**31 - 1)
    note(f"{x.shape}: {widths} of {word}")
    if mode == "constant":
        filler = np.array([word], np.int64).view(dtype)[0]
        expected = np.pad(x, widths, constant_values=filler)
        source = np.pad(numbered(x.shape), widths, constant_values=-1)
    else:
        expected = np.pad(x, widths, mode=mode)
        source = np.pad(numbered(x.shape), widths, mode=mode)
    params = {
        **indexed("before", tuple(before for before, _ in widths)),
        "mode": PAD_MODES[mode],
        "value": word,
    }
    reads = rows_read(source, x.shape, expected.shape)
    check_bits(unary("pad", x, expected, params), [x], expected, [reads], draw.band())


@often
@given(seeds)
def test_transpose(seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(0, 6), draw.choice(ALL_DTYPES))
    perm = tuple(draw.rng.permutation(x.ndim).tolist())
    note(f"{x.shape}: {perm}")
    expected = x.transpose(perm).copy()
    operation = unary("transpose", x, expected, indexed("perm", perm))
    check_bits(operation, [x], expected, [all_rows(x.shape)], draw.band())


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("perm", [(0, 3, 1, 2), (0, 2, 3, 1), (3, 2, 1, 0)])
def test_transpose_of_an_image(perm: Shape, dtype: str) -> None:
    shape = (2, 33, 40, 35)
    x = Draw(1).values(shape, dtype)
    expected = x.transpose(perm).copy()
    operation = unary("transpose", x, expected, indexed("perm", perm))
    check_bits(operation, [x], expected, [all_rows(shape)], 9)


# Around the sizes of the blocks that kernels transpose in.
BLOCKS = (1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 31, 32, 33, 65)


def transpose_of_blocks(draw: Draw) -> tuple[np.ndarray, np.ndarray, Operation]:
    """x, its transpose, and the operation that makes it; long and short axes in any order."""
    shape = [draw.choice(BLOCKS) for _ in range(draw.integer(2, 3))]
    for _ in range(draw.integer(0, 3)):
        shape.insert(draw.integer(0, len(shape)), draw.choice([1, 1, 2, 3]))
    x = draw.values(tuple(shape), draw.choice(ALL_DTYPES))
    perm = tuple(draw.rng.permutation(x.ndim).tolist())
    note(f"{x.shape}: {perm}")
    expected = x.transpose(perm).copy()
    return x, expected, unary("transpose", x, expected, indexed("perm", perm))


@often
@given(seeds)
def test_transpose_in_blocks(seed: int) -> None:
    draw = Draw(seed)
    x, expected, operation = transpose_of_blocks(draw)
    band = draw.choice([operation.output.rows, draw.integer(1, operation.output.rows)])
    reads = [all_rows(x.shape)]
    check_in_bands(operation, [x], expected, reads, band, spare=draw.integer(0, 1))


@pytest.mark.parametrize("edge", ["begin", "end"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_transpose_touches_no_byte_beside_its_memory(edge: str, dtype: str, tmp_path: Path) -> None:
    files = {}
    for rows in BLOCKS:
        for columns in BLOCKS:
            x = np.zeros((rows, columns), dtype)
            operation = unary("transpose", x, x.T, indexed("perm", (1, 0)))
            files[f"{rows}x{columns}"] = write_model([plan_whole(operation)], {})
    assert len(checksums(edge, files, tmp_path)) == len(files)


def test_short_runs_touch_no_byte_beside_their_memory(tmp_path: Path) -> None:
    files = {}
    for width in range(1, 70):
        x = np.zeros((1, 5, 3, width), np.int8)
        turned = np.zeros((1, 3, 5, width), np.int8)
        moved = unary("transpose", x, turned, indexed("perm", (0, 2, 1, 3)))
        part = np.zeros((1, 5, 2, width), np.int8)
        sliced = unary("slice", x, part, {**indexed("begin", (0,)), **indexed("stride", (1,) * 6)})
        for operation in (moved, sliced, gather_operation(x, np.array([2, 0, 1]), 2, fixed=True)):
            files[f"{operation.operator} {width}"] = write_model([plan_whole(operation)], {})
    assert checksums("begin", files, tmp_path) == checksums("end", files, tmp_path)


@pytest.mark.parametrize("perm", [(5, 4, 3, 2, 1, 0), (4, 2, 0, 5, 3, 1), (1, 3, 5, 0, 2, 4)])
def test_transpose_of_six_axes_that_all_part(perm: Shape) -> None:
    x = Draw(2).values((2, 3, 4, 5, 2, 3), "int16")
    expected = x.transpose(perm).copy()
    operation = unary("transpose", x, expected, indexed("perm", perm))
    check_bits(operation, [x], expected, [all_rows(x.shape)], 7)


@often
@given(seeds)
def test_copy_under_another_shape(seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(0, 6), draw.choice(ALL_DTYPES))
    shape: list[int] = list(x.shape)
    for _ in range(draw.integer(0, 3)):  # join neighbours, or split one
        if len(shape) > 1 and draw.flag():
            at = draw.integer(0, len(shape) - 2)
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
        elif len(shape) < 6:
            at = draw.integer(0, len(shape))
            if at == len(shape):
                shape.append(1)
            else:
                part = draw.choice([d for d in range(1, shape[at] + 1) if shape[at] % d == 0])
                shape[at : at + 1] = [part, shape[at] // part]
    expected = x.reshape(shape)
    note(f"{x.shape} -> {expected.shape}")
    reads = rows_read(numbered(x.shape).reshape(shape), x.shape, expected.shape)
    # The device demands equal shapes of operators that work in place.
    in_place = (0,) if expected.shape == x.shape else ()
    operation = unary("copy", x, expected, {"reserved": 0})
    check_bits(operation, [x], expected, [reads], draw.band(), in_place)


def gather_operation(
    x: np.ndarray, indices: np.ndarray, axis: int, *, fixed: bool = False
) -> Operation:
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    index_value = (
        constant("indices", indices)
        if fixed
        else Value("indices", indices.shape, indices.dtype.name)
    )
    return Operation(
        "gather",
        [Value("x", x.shape, x.dtype.name), index_value],
        [Value("y", shape, x.dtype.name)],
        {"axis": axis},
        "gather",
    )


@often
@given(seeds)
def test_gather(seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(1, 4), draw.choice(ALL_DTYPES))
    axis = draw.integer(0, x.ndim - 1)
    size, index_shape = x.shape[axis], draw.shape(0, 3, largest=3)
    if np.prod(x.shape[:axis] + index_shape + x.shape[axis + 1 :]) > 10_000:
        index_shape = index_shape[-1:]  # rows are steps, of which thousands take minutes
    indices = draw.rng.integers(-size, size, index_shape).astype(draw.choice(["int32", "int64"]))
    note(f"{x.shape} along {axis} by {indices.tolist()}")
    expected = np.take(x, indices.astype(np.intp), axis)  # 32-bit numpy takes no wider ones
    fixed = draw.flag()
    operation = gather_operation(x, indices, axis, fixed=fixed)
    inputs = [x] if fixed else [x, indices]
    reads = [all_rows(x.shape), all_rows(index_shape)][: len(inputs)]
    check_bits(operation, inputs, expected, reads, draw.band())


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("index", [5, -6, 2**31 - 1, -(2**31)])
def test_gather_fails_the_run_on_an_index_out_of_range(index: int, dtype: str) -> None:
    x = Draw(0).values((5, 3), "int8")
    indices = np.array([0, -5, index, 4], dtype)
    operation = gather_operation(x, indices, 0)
    with pytest.raises(
        edgeinfer.InputError, match=f"indices: entry 2 is {index}, must be from -5 to 4"
    ):
        run_whole(operation, [x, indices])


def test_gather_takes_no_more_than_64_bits_of_an_index() -> None:
    x = Draw(0).values((5, 3), "int8")
    indices = np.array([2**32], np.int64)
    with pytest.raises(edgeinfer.InputError, match="entry 0 is 4294967296"):
        run_whole(gather_operation(x, indices, 0), [x, indices])


def draw_sizes(draw: Draw) -> tuple[Shape, Shape]:
    """Shapes of an image and of its resized one."""
    batch, channels = draw.integer(1, 3), draw.choice([1, 2, 3, 16, 19, 40])
    x = (batch, draw.integer(1, 6), draw.integer(1, 6), channels)
    return x, (batch, draw.integer(1, 9), draw.integer(1, 9), channels)


@given(seeds)
def test_resize_nearest(seed: int) -> None:
    draw = Draw(seed)
    shape, out = draw_sizes(draw)
    x = draw.values(shape, draw.choice(ALL_DTYPES))
    rows, columns = (
        np.sort(draw.rng.integers(0, shape[i], out[i])).astype(np.int32) for i in (1, 2)
    )
    expected = x[:, rows][:, :, columns].copy()
    operation = unary("resize_nearest", x, expected, {"reserved": 0})
    operation.inputs += [constant("rows", rows), constant("columns", columns)]
    reads = rows_read(numbered(shape)[:, rows][:, :, columns], shape, out)
    check_bits(operation, [x], expected, [reads], draw.band())


def bilinear(
    x: np.ndarray, rows: np.ndarray, columns: np.ndarray, bits: int, half_away: bool
) -> np.ndarray:
    """resize_bilinear of the specification."""
    one = 1 << bits
    image = x.astype(np.int64)
    wy, wx = rows[:, 2, None, None].astype(np.int64), columns[:, 2, None].astype(np.int64)

    def along_width(line: np.ndarray) -> np.ndarray:
        taken = image[:, line]
        return taken[:, :, columns[:, 0]] * (one - wx) + taken[:, :, columns[:, 1]] * wx

    v: np.ndarray = along_width(rows[:, 0]) * (one - wy) + along_width(rows[:, 1]) * wy
    half = 1 << (2 * bits - 1)
    if half_away:
        v = np.sign(v) * ((np.abs(v) + half) >> (2 * bits))
    else:
        v = (v + half) >> (2 * bits)
    return v.astype(x.dtype)


@often
@given(seeds)
def test_resize_bilinear(seed: int) -> None:
    draw = Draw(seed)
    shape, out = draw_sizes(draw)
    x = draw.values(shape, draw.choice(["int8", "uint8", "int16"]))
    bits, half_away = draw.choice([1, 2, 7, 10, 11, 20]), draw.flag()

    def table(n_in: int, n_out: int) -> np.ndarray:
        first = np.sort(draw.rng.integers(0, n_in, n_out))
        second = np.minimum(first + draw.integer(0, 2), n_in - 1)
        weights = [0, 1, (1 << bits) // 2, (1 << bits) - 1, 1 << bits]
        return np.stack([first, second, draw.rng.choice(weights, n_out)], 1).astype(np.int32)

    rows, columns = table(shape[1], out[1]), table(shape[2], out[2])
    expected = bilinear(x, rows, columns, bits, half_away)

    def reads(begin: int, end: int) -> tuple[int, int]:
        images, lines = np.divmod(np.arange(begin, end), out[1])
        touched = images[:, None] * shape[1] + rows[lines, :2]
        return int(touched.min()), int(touched.max()) + 1

    params = {"fraction_bits": bits, "half_away": int(half_away)}
    operation = unary("resize_bilinear", x, expected, params)
    operation.inputs += [constant("rows", rows), constant("columns", columns)]
    check_bits(operation, [x], expected, [reads], draw.band())


def test_a_ring_too_small_for_a_band_is_refused() -> None:
    """What the operator says it reads is what the validator holds the plan against."""
    x = Draw(0).values((1, 6, 2, 3), "int8")
    params = {**indexed("begin", (0, 5, 0, 0)), **indexed("stride", (1, -1, 1, 1), 1)}
    operation = unary("slice", x, x, params)
    with pytest.raises(edgeinfer.EdgeInferError, match="slice"):
        run_streamed(operation, [x], [lambda begin, end: (begin, end)], 1)
