"""Comparisons, selections, casts, integer arithmetic, cumsum, top_k and gather_elements give
NumPy's results through whole files, in every way to run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note

import edgeinfer
from edgeinfer.convert.lower.plain import BINARY, REDUCTIONS, UNARY
from edgeinfer.convert.program import Operation, Value
from tests.kernels.draw import ALL_DTYPES, LIMITS, Draw, Shape, seeds
from tests.kernels.run_operation import all_rows, check_bits, constant, run_whole, same_rows
from tests.kernels.test_elementwise import Operands, draw_operands
from tests.kernels.test_pool_reduce import rows_of

INTEGERS = ["int8", "uint8", "int16", "int32", "int64"]


def small(draw: Draw, shape: Shape, dtype: str) -> np.ndarray:
    """Values that meet their equals often; NaN and zeros of both signs too."""
    if dtype == "float32":
        return draw.rng.choice(np.array([-1, -0.0, 0, 1, np.nan, np.inf], np.float32), shape)
    low = 0 if dtype in ("uint8", "bool") else -3
    return draw.rng.integers(low, 2 if dtype == "bool" else 4, shape).astype(dtype)


def operation(
    operator: str, inputs: dict[str, np.ndarray], y: np.ndarray, **params: int
) -> Operation:
    values: list[Value | None] = [
        Value(name, data.shape, data.dtype.name) for name, data in inputs.items()
    ]
    return Operation(operator, values, [Value("y", y.shape, y.dtype.name)], {**params}, operator)


@pytest.mark.parametrize("kind", ["equal", "less", "less_equal"])
@given(seed=seeds)
def test_compare(kind: str, seed: int) -> None:
    draw = Draw(seed)
    shapes, dtype = draw_operands(draw), draw.choice(ALL_DTYPES)
    a, b = small(draw, shapes.a, dtype), small(draw, shapes.b, dtype)
    expected = np.asarray(getattr(np, kind)(a, b))
    number = ["equal", "less", "less_equal"].index(kind)
    compare = operation("compare", {"a": a, "b": b}, expected, kind=number)
    check_bits(compare, [a, b], expected, [shapes.reads(s) for s in (shapes.a, shapes.b)], 2)


@given(seeds)
def test_select(seed: int) -> None:
    draw = Draw(seed)
    shapes, dtype = draw_operands(draw), draw.choice(ALL_DTYPES)
    third = draw.choice([shapes.y, shapes.a, (1,), shapes.y[-1:]])
    order = draw.rng.permutation(3)
    all_shapes = [[shapes.a, shapes.b, third][i] for i in order]
    condition = small(draw, all_shapes[0], "bool")
    a, b = draw.values(all_shapes[1], dtype), draw.values(all_shapes[2], dtype)
    expected = np.where(condition, a, b)
    node = operation("select", {"condition": condition, "a": a, "b": b}, expected, reserved=0)
    both = Operands(shapes.y, shapes.y)
    check_bits(node, [condition, a, b], expected, [both.reads(s) for s in all_shapes], 3)


def cast(x: np.ndarray, dtype: str) -> np.ndarray:
    """Truncated and limited; wider integers wrap around."""
    if dtype == "bool":
        return x != 0
    if x.dtype == np.float32 and dtype != "float32":
        low, high = LIMITS[dtype]
        whole = [0 if np.isnan(v) else v for v in x.reshape(-1).astype(np.float64)]
        limited = [low if v <= low else high if v >= high else int(v) for v in whole]
        return np.array(limited, dtype).reshape(x.shape)
    return x.astype(dtype)


@pytest.mark.parametrize("x_dtype", ALL_DTYPES)
@given(seed=seeds)
def test_cast(x_dtype: str, seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice([d for d in ALL_DTYPES if d != x_dtype])
    shape = draw.shape(0, 6)
    if x_dtype == "float32":
        x = draw.floats(shape, draw.choice([1.0, 100.0, 1e5, 1e10, 1e20]), 0.3)
    else:
        x = draw.values(shape, x_dtype)
    expected = cast(x, dtype)
    node = operation("cast", {"x": x}, expected, reserved=0)
    check_bits(node, [x], expected, [same_rows], draw.band())


def integer_binary(kind: str, a: int, b: int) -> int:
    """In unbounded integers; the result wraps around when it is stored."""
    if kind in ("div", "fmod", "mod") and b == 0:
        return 0
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0
    if kind == "pow":
        if b < 0:
            return {1: 1, -1: 1 - 2 * (b & 1)}.get(a, 0)
        return pow(a, b, 2**64)
    return {
        "add": a + b,
        "sub": a - b,
        "mul": a * b,
        "div": quotient,
        "maximum": max(a, b),
        "minimum": min(a, b),
        "fmod": a - quotient * b,
        "mod": a % b if b else 0,
        "logical_and": a & b,
        "logical_or": a | b,
        "logical_xor": a ^ b,
    }[kind]


def wrapped(values: list[int], shape: Shape, dtype: str) -> np.ndarray:
    low = [v % 2**64 for v in values]
    return np.array(low, np.uint64).astype(dtype).reshape(shape)


@pytest.mark.parametrize("kind", BINARY)
@given(seed=seeds)
def test_binary(kind: str, seed: int) -> None:
    draw = Draw(seed)
    shapes = draw_operands(draw)
    dtype = (
        draw.choice([*INTEGERS, "bool"]) if kind.startswith("logical") else draw.choice(INTEGERS)
    )
    make = small if draw.flag() else Draw.values
    a, b = make(draw, shapes.a, dtype), make(draw, shapes.b, dtype)
    pairs = zip(*(np.broadcast_to(v, shapes.y).reshape(-1).tolist() for v in (a, b)), strict=True)
    expected = wrapped([integer_binary(kind, int(p), int(q)) for p, q in pairs], shapes.y, dtype)
    node = operation("binary_int", {"a": a, "b": b}, expected, kind=BINARY[kind])
    reads = [shapes.reads(s) for s in (shapes.a, shapes.b)]
    check_bits(node, [a, b], expected, reads, 2, in_bands=draw.in_bands())


@pytest.mark.parametrize("kind", UNARY)
@given(seed=seeds)
def test_unary(kind: str, seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(["bool", *INTEGERS]) if kind == "logical_not" else draw.choice(INTEGERS)
    x = draw.values(draw.shape(0, 6), dtype)
    function = {"neg": np.negative, "abs": np.abs, "sign": np.sign, "logical_not": np.invert}[kind]
    with np.errstate(over="ignore"):
        expected = np.asarray(function(x), dtype)
    node = operation("unary_int", {"x": x}, expected, kind=UNARY[kind])
    check_bits(node, [x], expected, [same_rows], draw.band(), (0,))


@given(seeds)
def test_classify(seed: int) -> None:
    draw = Draw(seed)
    x, classes = draw.floats(draw.shape(0, 6), odds=0.7), draw.integer(0, 7)
    found = [np.isnan(x), np.isposinf(x), np.isneginf(x)]
    expected = np.zeros(x.shape, bool)
    for i in range(3):
        expected = expected | (found[i] if classes >> i & 1 else False)
    node = operation("classify_f32", {"x": x}, expected, classes=classes)
    check_bits(node, [x], expected, [same_rows], draw.band())


@pytest.mark.parametrize("kind", REDUCTIONS)
@given(seed=seeds)
def test_reduce(kind: str, seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(1, 6), draw.choice(INTEGERS))
    rank = x.ndim
    axes = tuple(i for i in range(rank) if draw.flag())
    keep_dims = draw.flag()
    note(f"{x.shape} over {axes}")
    kept = [i for i in range(rank) if i not in axes]
    lines = x.transpose(*kept, *axes).reshape(int(np.prod([x.shape[i] for i in kept])), -1)
    results = []
    for line in lines.tolist():
        total = sum(line)
        if kind == "mean":  # a sum of int64 wraps around before it is divided
            total = (total + 2**63) % 2**64 - 2**63
            results.append(abs(total) // len(line) * (1 if total >= 0 else -1))
        else:
            product = 1
            for value in line:
                product = product * value % 2**64
            results.append({"sum": total, "reduce_prod": product, "reduce_max": max(line),
                            "reduce_min": min(line)}[kind])  # fmt: skip
    shape = tuple(1 if i in axes else x.shape[i] for i in range(rank) if keep_dims or i in kept)
    expected = wrapped(results, shape, x.dtype.name)
    mask = sum(1 << i for i in axes)
    node = operation("reduce_int", {"x": x}, expected, axes=mask, kind=REDUCTIONS[kind])
    outer = rank - (2 if rank >= 4 else 1)
    in_row = rows_of(x.shape) == rows_of(shape) and not any(i < outer for i in axes)
    check_bits(node, [x], expected, [same_rows if in_row else all_rows(x.shape)], draw.band())


@given(seeds)
def test_cumsum(seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(["float32", "float32", *INTEGERS])
    shape = draw.shape(1, 6)
    x = draw.floats(shape, odds=0.02) if dtype == "float32" else draw.values(shape, dtype)
    exclusive, reverse = draw.integer(0, 1), draw.integer(0, 1)
    line = x[..., ::-1] if reverse else x
    sums = [np.zeros(x.shape[:-1], dtype)]
    with np.errstate(all="ignore"):
        for i in range(x.shape[-1]):
            sums.append((sums[-1] + line[..., i]).astype(dtype))
    expected = np.stack(sums[:-1] if exclusive else sums[1:], -1)
    expected = expected[..., ::-1] if reverse else expected
    if dtype == "float32":
        expected = np.where(np.isnan(expected), np.float32(np.nan), expected)
    node = operation("cumsum", {"x": x}, expected, exclusive=exclusive, reverse=reverse)
    check_bits(node, [x], np.ascontiguousarray(expected), [same_rows], draw.band(), (0,))


@given(seeds)
def test_top_k(seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(ALL_DTYPES)
    x = (small if draw.flag() else Draw.values)(draw, draw.shape(1, 6), dtype)
    k, smallest = draw.integer(1, x.shape[-1]), draw.integer(0, 1)
    keys = x.astype(np.float64) if dtype == "float32" else x.astype(object)
    if dtype == "float32":
        keys = np.where(np.isnan(keys), np.finfo(np.float64).max, keys)
        keys = np.where(np.isinf(x), np.sign(keys) * 1e300, keys)
    order = np.argsort(keys if smallest else -keys, axis=-1, kind="stable")
    expected = np.ascontiguousarray(order[..., :k]).astype(np.int64)
    node = operation("top_k", {"x": x}, expected, smallest=smallest)
    check_bits(node, [x], expected, [same_rows], draw.band())


@given(seeds)
def test_gather_elements(seed: int) -> None:
    draw = Draw(seed)
    x = draw.values(draw.shape(1, 6), draw.choice(ALL_DTYPES))
    size, k = x.shape[-1], draw.integer(1, 5)
    indices = draw.rng.integers(-size, size, (*x.shape[:-1], k), draw.choice(["int32", "int64"]))
    expected = np.take_along_axis(x, indices, axis=-1)
    node = operation("gather_elements", {"x": x, "indices": indices}, expected, reserved=0)
    check_bits(node, [x, indices], expected, [same_rows, same_rows], draw.band())


@pytest.mark.parametrize("index", [5, -6, 2**31 - 1])
def test_gather_elements_refuses_indices_that_are_out_of_range(index: int) -> None:
    x, indices = np.zeros((2, 5), np.int8), np.array([[0], [index]], np.int32)
    node = operation("gather_elements", {"x": x, "indices": indices}, x[:, :1], reserved=0)
    with pytest.raises(edgeinfer.EdgeInferError, match=f"row 1 has {index}, must be from -5 to 4"):
        run_whole(node, [x, indices])
    node.inputs[1] = constant("indices", indices)
    with pytest.raises(edgeinfer.EdgeInferError, match=f"row 1 has {index}"):
        run_whole(node, [x])
