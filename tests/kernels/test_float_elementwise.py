"""Functions and arithmetic of float32 give the oracle's bits, on every tier and in every way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note

from edgeinfer.convert.lower.float_elementwise import BINARY, UNARY
from edgeinfer.convert.program import Operation, Value
from tests.kernels.draw import Draw, Shape, seeds
from tests.kernels.run_operation import bits, check_bits, run_whole, same_rows
from tests.kernels.test_elementwise import Operands, draw_operands
from tests.oracle import float32
from tests.oracle.float64 import real_binary, real_unary

BY_FLOAT64 = [kind for kind, number in UNARY.items() if number >= 64]
BY_FLOAT32 = [kind for kind, number in UNARY.items() if number < 64]

ULPS = {
    "exp": 1.1,
    "sigmoid": 2.5,
    "tanh": 2.7,
    "silu": 3.5,
    "erf": 1.0,
    "mish": 4.0,
    "elu": 2.5,
    "log": 1.0,
    "softsign": 1.5,
    "rsqrt": 1.5,
    **dict.fromkeys(BY_FLOAT64, 0.51),
}
"""How far each function is from the real one at most, as docs/internals/numerics.md states it."""
EXACT = ("sqrt", "reciprocal", "abs", "neg", "square", "floor", "ceil", "round", "sign", "clip")


def unary(
    kind: str,
    shape: Shape,
    constants: tuple[float, float, float] = (0.0, 0.0, 0.0),
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Operation:
    params = dict(zip(("alpha", "beta", "gamma"), constants, strict=True))
    params |= {"kind": UNARY[kind], "clamp_min": bounds[0], "clamp_max": bounds[1]}
    x, y = Value("x", shape, "float32"), Value("y", shape, "float32")
    return Operation("unary_f32", [x], [y], params, kind)


@pytest.mark.parametrize("kind", BY_FLOAT32)
@given(seed=seeds)
def test_unary(kind: str, seed: int) -> None:
    draw = Draw(seed)
    x = draw.floats(draw.shape(0, 6), draw.choice([0.5, 3.0, 30.0]))
    alpha, beta, gamma = (float(np.float32(draw.uniform(-2, 2))) for _ in range(3))
    constants = (alpha, beta, gamma)
    bounds = draw.bounds()
    note(f"{x.shape} {constants} {bounds}")
    y = float32.unary(kind, x, *constants)
    operation = unary(kind, x.shape, constants, bounds)
    expected, band = float32.clamped(y, *bounds), draw.band()
    check_bits(operation, [x], expected, [same_rows], band, (0,), in_bands=draw.in_bands())


@pytest.mark.parametrize("kind", BY_FLOAT64)
@given(seed=seeds)
def test_unary_by_float64(kind: str, seed: int) -> None:
    """There is one version: what one run gives must come of all ways to run."""
    draw = Draw(seed)
    x = draw.floats(draw.shape(0, 6), draw.choice([0.5, 3.0, 30.0]))
    operation = unary(kind, x.shape, bounds=draw.bounds())
    expected = run_whole(operation, [x])
    band = draw.band()
    check_bits(operation, [x], expected, [same_rows], band, (0,), in_bands=draw.in_bands())


def dense(rng: np.random.Generator) -> np.ndarray:
    """Every exponent and sign, infinities, zeros, NaN, and what functions bend at."""
    each = (np.arange(512, dtype=np.uint32)[:, None] << 23) | rng.integers(
        0, 1 << 23, (512, 150), np.uint32
    )
    edges = each[:, :2] & np.uint32(0xFF800000)
    edges[:, 1] |= np.uint32(0x7FFFFF)
    near = rng.uniform(-12, 12, 60_000).astype(np.float32)
    far = rng.uniform(-110, 110, 40_000).astype(np.float32)
    integers = np.arange(-300, 300, 0.5, dtype=np.float32)
    return np.concatenate(
        [each.view(np.float32).ravel(), edges.view(np.float32).ravel(), near, far, integers]
    )


def ulps_of(y: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Distance from the real result in units of its last place; 0 for the right NaN."""
    y = y.astype(np.float64)
    with np.errstate(all="ignore"):
        rounded = real.astype(np.float32).astype(np.float64)
        unit = np.maximum(2.0 ** (np.floor(np.log2(np.abs(real))) - 23), 2.0**-149)
        distance = np.abs(y - real) / unit
    same = (y == rounded) & (np.signbit(y) == np.signbit(rounded)) | np.isnan(y) & np.isnan(real)
    return np.where(same, np.minimum(np.nan_to_num(distance, nan=0.0), 0.5), distance)


@pytest.mark.parametrize("kind", [*ULPS, *EXACT])
def test_distance_from_the_real_function(kind: str) -> None:
    x = dense(np.random.default_rng(1))
    constants = (1.0, 1.0, 1.0) if kind == "elu" else (0.0, 0.0, 0.0)
    y = run_whole(unary(kind, x.shape, constants), [x])
    distance = ulps_of(y, real_unary(kind, x))
    if kind in ("silu", "mish"):  # a subnormal e^x, times x
        distance[x < -85] /= np.abs(x[x < -85])
    worst = np.argmax(np.nan_to_num(distance, nan=np.inf))
    assert np.isnan(y[np.isnan(x)]).all()
    bound = ULPS.get(kind, 0.5)
    assert distance[worst] <= bound, (x[worst], y[worst], real_unary(kind, x[worst : worst + 1]))
    if kind in BY_FLOAT32:
        np.testing.assert_array_equal(
            bits(y), bits(float32.clamped(float32.unary(kind, x, *constants)))
        )


@pytest.mark.parametrize(("kind", "bound"), [("gelu", 1.5e-7), ("gelu_tanh", 1.5e-7)])
def test_distance_of_gelu(kind: str, bound: float) -> None:
    """Of x: where the function is near 0, so is the error, but not in units of its last place."""
    x = dense(np.random.default_rng(1))
    y = run_whole(unary(kind, x.shape), [x])
    with np.errstate(all="ignore"):
        distance = np.abs(y - real_unary(kind, x)) / np.abs(x)
    assert np.nanmax(np.where(np.isfinite(x) & (np.abs(x) > 1e-30), distance, 0)) <= bound
    assert not np.isnan(y[~np.isnan(x)]).any()
    np.testing.assert_array_equal(bits(y), bits(float32.clamped(float32.unary(kind, x))))


@pytest.mark.parametrize("kind", [kind for kind, number in BINARY.items() if number < 7])
@given(seed=seeds)
def test_binary(kind: str, seed: int) -> None:
    draw = Draw(seed)
    shapes, bounds = draw_operands(draw), draw.bounds()
    a, b = draw.floats(shapes.a), draw.floats(shapes.b)
    expected = float32.clamped(float32.binary(kind, a, b), *bounds)
    operation, band = binary(kind, shapes, bounds), draw.band()
    shapes.check(operation, a, b, expected, band, in_bands=draw.in_bands())


def binary(kind: str, shapes: Operands, bounds=(-np.inf, np.inf)) -> Operation:
    params = {"kind": BINARY[kind], "clamp_min": bounds[0], "clamp_max": bounds[1]}
    inputs: list[Value | None] = [
        Value("a", shapes.a, "float32"),
        Value("b", shapes.b, "float32"),
    ]
    return Operation("binary_f32", inputs, [Value("y", shapes.y, "float32")], params, kind)


@pytest.mark.parametrize("kind", ["pow", "fmod", "mod", "atan2"])
@given(seed=seeds)
def test_binary_by_float64(kind: str, seed: int) -> None:
    draw = Draw(seed)
    shapes = draw_operands(draw)
    a, b = draw.floats(shapes.a, 3.0, 0.4), draw.floats(shapes.b, 3.0, 0.4)
    if draw.flag():
        b = np.rint(b)
    operation = binary(kind, shapes)
    y = run_whole(operation, [a, b])
    shapes.check(operation, a, b, y, draw.band(), in_bands=draw.in_bands())
    assert np.all(ulps_of(y, real_binary(kind, a, b)) <= 0.51)
