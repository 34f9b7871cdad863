"""Pools, sums, softmax, normalisation and resizing of float32 give the oracle's bits: whole, and in
bands over the smallest rings where they work row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note

from edgeinfer.convert.lower.float_reduction import REDUCTIONS
from edgeinfer.convert.program import Operation, Value
from tests.kernels.draw import Draw, often, seeds
from tests.kernels.run_operation import (
    RowRange,
    all_rows,
    check_bits,
    constant,
    run_whole,
    same_rows,
)
from tests.kernels.test_pool_reduce import draw_window, rows_of
from tests.oracle import float32
from tests.oracle.float32 import F, quiet


def bounds_params(bounds: tuple[float, float]) -> dict[str, float]:
    return {"clamp_min": bounds[0], "clamp_max": bounds[1]}


@pytest.mark.parametrize("kind", ["max", "mean"])
@often
@given(seed=seeds)
def test_pool2d(kind: str, seed: int) -> None:
    draw = Draw(seed)
    window, bounds, include_pad = draw_window(draw, [1, 1, 2, 3]), draw.bounds(), draw.flag()
    x = draw.floats(window.x)
    y = np.empty(window.y, F)
    for oy, ox in np.ndindex(y.shape[1:3]):
        seen = x[:, window.height.taps(oy)][:, :, window.width.taps(ox)]
        taps = seen.reshape(x.shape[0], -1, x.shape[3])
        y[:, oy, ox] = pool(kind, taps, window.height.kernel * window.width.kernel, include_pad)
    params = {
        **window.params("kernel", "stride", "dilation"),
        "kind": int(kind == "mean"),
        "count_include_pad": int(include_pad),
        **bounds_params(bounds),
    }
    operation = Operation(
        "pool2d_f32", [Value("x", x.shape, "float32")], [Value("y", y.shape, "float32")], params
    )
    check_bits(operation, [x], float32.clamped(y, *bounds), [window.reads], draw.band())


@quiet
def pool(kind: str, taps: np.ndarray, all_taps: int, include_pad: bool) -> np.ndarray:
    """Of [N, taps, C], in ascending order."""
    s = np.full((taps.shape[0], taps.shape[2]), 0 if kind == "mean" else -np.inf, F)
    for i in range(taps.shape[1]):
        s = s + taps[:, i] if kind == "mean" else float32.maximum(s, taps[:, i])
    return s / F(all_taps if include_pad else taps.shape[1]) if kind == "mean" else s


@pytest.mark.parametrize("kind", REDUCTIONS)
@given(seed=seeds)
def test_reduce(kind: str, seed: int) -> None:
    draw = Draw(seed)
    x = draw.floats(draw.shape(1, 6, 5), odds=0.02)
    rank = x.ndim
    axes = tuple(i for i in range(rank) if draw.flag())
    bounds, keep_dims = draw.bounds(), draw.flag()
    note(f"{x.shape} over {axes}")
    kept = [i for i in range(rank) if i not in axes]
    elements = x.transpose(*kept, *axes).reshape(*(x.shape[i] for i in kept), -1)
    shape = tuple(1 if i in axes else x.shape[i] for i in range(rank) if keep_dims or i in kept)
    y = float32.clamped(float32.reduce(kind, elements), *bounds).reshape(shape)
    operation = Operation(
        "reduce_f32",
        [Value("x", x.shape, "float32")],
        [Value("y", shape, "float32")],
        {"axes": sum(1 << i for i in axes), "kind": REDUCTIONS[kind], **bounds_params(bounds)},
    )
    outer = rank - (2 if rank >= 4 else 1)
    in_row = rows_of(x.shape) == rows_of(shape) and not any(i < outer for i in axes)
    check_bits(operation, [x], y, [same_rows if in_row else all_rows(x.shape)], draw.band())


@pytest.mark.parametrize("logarithm", [0, 1])
@given(seed=seeds)
def test_softmax(logarithm: int, seed: int) -> None:
    draw = Draw(seed)
    x = draw.floats(draw.shape(1, 6), draw.choice([0.1, 1.0, 50.0]), 0.02)
    beta = draw.choice([1.0, 1.0, 0.125, 3.0])
    operation = Operation(
        "softmax_f32",
        [Value("x", x.shape, "float32")],
        [Value("y", x.shape, "float32")],
        {"beta": beta, "logarithm": logarithm},
    )
    expected = float32.softmax(x, F(beta), bool(logarithm))
    check_bits(operation, [x], expected, [same_rows], draw.band(), (0,))


@pytest.mark.parametrize("size", [1, 7, 16, 100, 1000, 4097])
def test_softmax_is_near_the_real_one(size: int) -> None:
    x = np.random.default_rng(size).normal(0, 5, (20, size)).astype(F)
    t = x.astype(np.float64)
    t -= t.max(-1, keepdims=True)
    real = np.exp(t) / np.exp(t).sum(-1, keepdims=True)
    for logarithm, expected in ((0, real), (1, np.log(real))):
        operation = Operation(
            "softmax_f32",
            [Value("x", x.shape, "float32")],
            [Value("y", x.shape, "float32")],
            {"beta": 1.0, "logarithm": logarithm},
        )
        y = run_whole(operation, [x])
        # The difference t is rounded too; a sum has size / 16 roundings in a row.
        ulps = 8 + np.abs(t) + size / 160 + (np.abs(expected) if logarithm else 0)
        bound = 2.0**-24 * ulps * (1 if logarithm else expected)
        assert np.all(np.abs(y - expected) <= bound)


@given(seeds)
def test_layer_norm(seed: int) -> None:
    draw = Draw(seed)
    x = draw.floats(draw.shape(1, 6), odds=0.01)
    size = x.shape[-1]
    scale = draw.floats((size,)) if draw.flag(0.7) else None
    bias = draw.floats((size,)) if draw.flag(0.7) else None
    centred, epsilon = draw.flag(), draw.choice([1e-5, 1e-12, 0.0])
    expected = float32.layer_norm(x, scale, bias, F(epsilon), centred)
    inputs: list[Value | None] = [Value("x", x.shape, "float32")]
    arrays: list[np.ndarray] = [x]
    reads: list[RowRange] = [same_rows]
    for name, data in (("scale", scale), ("bias", bias)):
        if data is None:
            inputs.append(None)
        elif draw.flag():
            inputs.append(constant(name, data))
        else:
            inputs.append(Value(name, data.shape, "float32"))
            arrays.append(data)
            reads.append(all_rows(data.shape))
    operation = Operation(
        "layer_norm_f32",
        inputs,
        [Value("y", x.shape, "float32")],
        {"centred": int(centred), "epsilon": epsilon},
    )
    check_bits(operation, arrays, expected, reads, draw.band(), (0,))


@given(seeds)
def test_resize(seed: int) -> None:
    draw = Draw(seed)
    x = draw.floats((draw.integer(1, 2), draw.integer(1, 6), draw.integer(1, 6),
                     draw.choice([1, 3, 8, 16, 17, 40])), odds=0.02)  # fmt: skip
    sizes = [draw.integer(1, 7), draw.integer(1, 7)]
    taps = [draw.integer(1, 4), draw.integer(1, 4)]
    tables = []
    for axis in (0, 1):
        shape = (sizes[axis], taps[axis])
        tables.append(draw.rng.integers(0, x.shape[1 + axis], shape).astype(np.int32))
        tables.append(draw.rng.standard_normal(shape).astype(F))
    y = float32.clamped(resize(x, *tables))
    names = ("rows", "row_weights", "columns", "column_weights")
    operation = Operation(
        "resize_f32",
        [Value("x", x.shape, "float32"), *map(constant, names, tables)],
        [Value("y", y.shape, "float32")],
        {"row_taps": taps[0], "column_taps": taps[1]},
    )

    def reads(begin: int, end: int) -> tuple[int, int]:
        images = [divmod(row, sizes[0]) for row in range(begin, end)]
        rows = [n * x.shape[1] + int(at) for n, row in images for at in tables[0][row]]
        return min(rows), max(rows) + 1

    check_bits(operation, [x], y, [reads], draw.band())


@quiet
def resize(x, rows, row_weights, columns, column_weights) -> np.ndarray:
    def weighted(parts: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
        total = parts[0] * weights[0]
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total = float32.fma(part, weight, total)
        return total

    across = weighted(
        [x[:, :, columns[:, j]] for j in range(columns.shape[1])],
        [column_weights[:, j, None] for j in range(columns.shape[1])],
    )
    return weighted(
        [across[:, rows[:, i]] for i in range(rows.shape[1])],
        [row_weights[:, i, None, None] for i in range(rows.shape[1])],
    )
