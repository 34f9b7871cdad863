"""Running sums of rows, and what becomes of them, give NumPy's bits through whole files: whole, and
in bands over the smallest rings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from edgeinfer.convert.program import Operation, Value
from tests.kernels.draw import LIMITS, Draw, often, seeds
from tests.kernels.run_operation import check_bits, run_whole, same_rows
from tests.kernels.test_pool_reduce import CHANNELS
from tests.oracle.requantize import requantize

QUANTIZED = ["int8", "uint8", "int16"]


def running_sums(x: np.ndarray) -> np.ndarray:
    """[N,H,1,C] of int32."""
    return x.astype(np.int64).sum(2, keepdims=True).cumsum(1).astype(np.int32)


def accumulate_rows(x: np.ndarray) -> Operation:
    sums = Value("y", (*x.shape[:2], 1, x.shape[3]), "int32")
    image = Value("x", x.shape, x.dtype.name)
    return Operation("accumulate_rows", [image], [sums], {"reserved": 0}, "sums")


@often
@given(seeds)
def test_accumulate_rows(seed: int) -> None:
    draw = Draw(seed)
    channels = draw.choice(CHANNELS)
    # More pixels than the shortest sums hold, now and then.
    width = draw.choice([1, 2, 3, 7, 16, 255, 256, 257, 600]) if channels < 70 else 5
    shape = (draw.integer(1, 3), draw.integer(1, 6), width, channels)
    x = draw.values(shape, draw.choice(QUANTIZED))
    check_bits(accumulate_rows(x), [x], running_sums(x), [same_rows], draw.band())


@pytest.mark.parametrize("dtype", QUANTIZED)
@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("channels", [1, 8, 64])
def test_accumulate_rows_of_the_largest_sums(dtype: str, end: int, channels: int) -> None:
    """Every pixel is the dtype's smallest or largest; with one channel the image is the largest."""
    limit = LIMITS[dtype][end]
    pixels = (2**31 - 1) // max(abs(each) for each in LIMITS[dtype])
    width = 4096 if channels == 1 else 1000
    x = np.full((1, pixels // width if channels == 1 else 3, width, channels), limit, dtype)
    np.testing.assert_array_equal(run_whole(accumulate_rows(x), [x]), running_sums(x))


@often
@given(seeds)
def test_rescale_sums(seed: int) -> None:
    draw = Draw(seed)
    images, height, channels = draw.integer(1, 4), draw.integer(1, 5), draw.choice(CHANNELS)
    dtype, kind = draw.choice(QUANTIZED), draw.integer(0, 2)
    largest = draw.choice([300, 70_000, 2**31 - 1])
    sums = draw.rng.integers(
        -largest - 1, largest, (images, height, 1, channels), np.int32, endpoint=True
    )
    divisor = draw.choice([1, 2, 3, 49, 65_535, 2**31 - 1, draw.integer(1, 1000)])
    zero_sum = draw.choice([0, 12345, -(2**31), 2**31 - 1, draw.integer(-1000, 1000)])
    multiplier = np.float32(draw.choice([1.0, 0.5, 1.7, 0.013, -1.0, 3e38]))
    offset, zero_point = np.float32(draw.uniform(-99, 99)), draw.zero_point(dtype)
    clamp = draw.clamp(dtype)
    last = sums[:, -1, 0].astype(np.int64)
    with np.errstate(over="ignore"):
        if kind == 0:
            scaled = last.astype(np.float32) * multiplier + offset
            bounded = np.clip(scaled, *(np.float32(end - zero_point) for end in clamp))
            expected = (np.rint(bounded).astype(np.int64) + zero_point).astype(dtype)
        elif kind == 1:
            factor = multiplier / np.float32(divisor)
            expected = requantize(last - zero_sum, factor, zero_point, clamp, dtype)
        else:
            magnitude = (np.abs(last) + divisor // 2) // divisor
            expected = np.clip(np.sign(last) * magnitude, *clamp).astype(dtype)
    shape = (images, channels) if draw.flag() else (images, 1, 1, channels)
    params = {
        "kind": kind,
        "divisor": divisor,
        "zero_sum": zero_sum,
        "multiplier": float(multiplier),
        "offset": float(offset),
        "out_zero_point": zero_point,
        "clamp_min": clamp[0],
        "clamp_max": clamp[1],
    }
    x, y = Value("x", sums.shape, "int32"), Value("y", shape, dtype)
    operation = Operation("rescale_sums", [x], [y], params, "rescaled")

    def last_rows(begin: int, end: int) -> tuple[int, int]:
        return (begin + 1) * height - 1, end * height

    check_bits(operation, [sums], expected.reshape(shape), [last_rows], draw.band())
