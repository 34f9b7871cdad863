"""Between real numbers and integers, bit for bit against NumPy through whole files: extremes, ties,
infinities and NaN included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from edgeinfer.convert.program import Operation, Value
from tests.kernels.draw import Draw, Shape, seeds
from tests.kernels.run_operation import check_bits, run_whole, same_rows
from tests.oracle import elementwise
from tests.oracle.requantize import requantize

FROM = ["int8", "uint8", "int16", "int32"]
TO = ["int8", "uint8", "int16"]


def draw_shape(draw: Draw) -> Shape:
    """Rows that are longer than the pieces in which requantize works, now and then."""
    return (2, 3, 300) if draw.flag(0.1) else draw.shape(0, 6)


def draw_multiplier(draw: Draw, dtype: str) -> float:
    """Powers of two (whose results land on ties), others, and the ends of float32."""
    exponent = draw.uniform(-12, 4) - {"int32": 24, "int16": 6}.get(dtype, 0)
    extreme = draw.choice([0.0, float(np.finfo(np.float32).max), 1e-45, -1e30])
    tie, other = 2.0 ** round(exponent), 2.0**exponent
    return float(np.float32(draw.choice([tie, -tie, other, other, extreme])))


def unary(
    operator: str, shape: Shape, x_dtype: str, y_dtype: str, params: dict[str, int | float]
) -> Operation:
    return Operation(
        operator, [Value("x", shape, x_dtype)], [Value("y", shape, y_dtype)], params, operator
    )


@given(seeds)
def test_requantize(seed: int) -> None:
    draw = Draw(seed)
    x_dtype, y_dtype = draw.choice(FROM), draw.choice(TO)
    x = draw.values(draw_shape(draw), x_dtype)
    in_point, out_point = draw.zero_point(x_dtype), draw.zero_point(y_dtype)
    clamp, multiplier = draw.clamp(y_dtype), draw_multiplier(draw, x_dtype)
    with np.errstate(over="ignore"):
        expected = requantize(
            x.astype(np.int64) - in_point, np.float32(multiplier), out_point, clamp, y_dtype
        )
    params = {
        "in_zero_point": in_point,
        "multiplier": multiplier,
        "out_zero_point": out_point,
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }
    operation = unary("requantize", x.shape, x_dtype, y_dtype, params)
    same_size = np.dtype(x_dtype).itemsize == np.dtype(y_dtype).itemsize
    check_bits(operation, [x], expected, [same_rows], draw.band(), (0,) if same_size else ())


def test_requantize_of_int32_takes_the_zero_point_away_exactly() -> None:
    """2^31 - 1 - (-2^31) does not fit int32; rounded to float32 once, it is 2^32."""
    x = np.array([2**31 - 1, -(2**31), 0], np.int32)
    params = {
        "in_zero_point": -(2**31),
        "multiplier": 2.0**-26,
        "out_zero_point": 0,
        "clamp_min": -128,
        "clamp_max": 127,
    }
    operation = unary("requantize", x.shape, "int32", "int8", params)
    np.testing.assert_array_equal(run_whole(operation, [x]), np.array([64, 0, 32], np.int8))


def draw_floats(draw: Draw, shape: Shape, factor: float) -> np.ndarray:
    """Reals around the range, ties, and every kind of float32 that is special."""
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38]
    rng = draw.rng
    with np.errstate(over="ignore"):
        near = (rng.uniform(-300, 300, shape) / factor).astype(np.float32)
        ties = ((rng.integers(-300, 300, shape) + 0.5) / factor).astype(np.float32)
    kind = rng.integers(0, 5, shape)
    specials = rng.choice(np.array(special, np.float32), shape)
    return np.select([kind < 2, kind < 4], [near, ties], specials).astype(np.float32)


@pytest.mark.parametrize("divide", [0, 1])
@given(seed=seeds)
def test_quantize(divide: int, seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(TO)
    factor = float(np.float32(draw.choice([1.0, 0.5, 2.0**-7, 8, 3, 0.1, 1e-38, 1e-45, 3e38])))
    zero_point, clamp = draw.zero_point(dtype), draw.clamp(dtype)
    x = draw_floats(draw, draw_shape(draw), 1 / factor if divide else factor)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scaled = x / np.float32(factor) if divide else x * np.float32(factor)
    rounded = np.rint(np.where(np.isnan(scaled), 0, scaled).astype(np.float64)) + zero_point
    expected = np.clip(rounded, *clamp).astype(dtype)
    params = {
        "factor": factor,
        "divide": divide,
        "zero_point": zero_point,
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }
    operation = unary("quantize", x.shape, "float32", dtype, params)
    check_bits(operation, [x], expected, [same_rows], draw.band())


@given(seeds)
def test_dequantize(seed: int) -> None:
    draw = Draw(seed)
    dtype = draw.choice(FROM)
    x = draw.values(draw_shape(draw), dtype)
    zero_point, scale = draw.zero_point(dtype), draw_multiplier(draw, dtype)
    with np.errstate(over="ignore"):
        expected = elementwise.dequantize(x, scale, zero_point)
    params = {"scale": scale, "zero_point": zero_point}
    operation = unary("dequantize", x.shape, dtype, "float32", params)
    check_bits(operation, [x], expected, [same_rows], draw.band())
    bits = run_whole(operation, [x]).view(np.uint32)
    np.testing.assert_array_equal(bits, expected.view(np.uint32))
