"""Operators on one value: the tables hold LiteRT's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders.spec import Spec
from tests.oracle import elementwise, lookup_tables
from tests.oracle.litert_checks import check, spec
from tests.oracle.strategies import (
    ALL_INT8,
    ratios,
    scales,
    seeds,
    zero_points,
)


def relu(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    return lookup_tables.clipped(s_x, zp_x, s_y, zp_y, 0.0, None)


def relu6(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    return lookup_tables.clipped(s_x, zp_x, s_y, zp_y, 0.0, 6.0)


def relu_n1_to_1(s_x: float, zp_x: int, s_y: float, zp_y: int) -> np.ndarray:
    return lookup_tables.clipped(s_x, zp_x, s_y, zp_y, -1.0, 1.0)


UNARY = {
    "LOGISTIC": (lookup_tables.logistic, True),
    "TANH": (lookup_tables.tanh, True),
    "ELU": (lookup_tables.elu, True),
    "HARD_SWISH": (lookup_tables.hard_swish, False),
    "EXP": (lookup_tables.exp, False),
    "ABS": (lookup_tables.absolute, False),
    "RELU": (relu, False),
    "RELU6": (relu6, False),
    "RELU_N1_TO_1": (relu_n1_to_1, False),
}


@pytest.mark.parametrize("code", list(UNARY))
@settings(max_examples=150)
@given(scales(2.0**-10, 4.0), ratios(2.0**-4, 2.0**4), st.tuples(zero_points, zero_points))
def test_unary_tables(code, s_x, ratio, zps) -> None:
    table, expect_delegated = UNARY[code]
    zp_x, zp_y = zps
    s_y = float(np.float32(s_x * ratio))
    model = elementwise_models.unary(code, spec((1, 256), s_x, zp_x), spec((1, 256), s_y, zp_y))
    expected = table(s_x, zp_x, s_y, zp_y)[None]
    check(model, [ALL_INT8], expected, expect_delegated=expect_delegated)


@pytest.mark.parametrize(
    ("code", "table", "s_y", "zp_y"),
    [
        ("LOGISTIC", lookup_tables.logistic, 1 / 256, -128),
        ("TANH", lookup_tables.tanh, 1 / 128, 0),
    ],
)
@settings(max_examples=150)
@given(scales(2.0**-10, 2.0), zero_points)
def test_sigmoid_and_tanh_with_their_usual_output_scale(code, table, s_y, zp_y, s_x, zp_x) -> None:
    model = elementwise_models.unary(code, spec((1, 256), s_x, zp_x), spec((1, 256), s_y, zp_y))
    check(model, [ALL_INT8], table(s_x, zp_x, s_y, zp_y)[None], expect_delegated=True)


@settings(max_examples=150)
@given(scales(2.0**-10, 1.0), ratios(2.0**-4, 2.0**4), st.tuples(zero_points, zero_points))
def test_gelu(s_x, ratio, zps) -> None:
    zp_x, zp_y = zps
    s_y = float(np.float32(s_x * ratio))
    for approximate in (False, True):
        model = elementwise_models.gelu(
            spec((1, 256), s_x, zp_x), spec((1, 256), s_y, zp_y), approximate
        )
        expected = lookup_tables.gelu(s_x, zp_x, s_y, zp_y, approximate)[None]
        check(model, [ALL_INT8], expected, expect_delegated=False)


@settings(max_examples=150)
@given(scales(2.0**-10, 1.0), ratios(2.0**-4, 2.0**4), st.integers(-128, 126), zero_points)
def test_log_of_positive_values(s_x, ratio, zp_x, zp_y) -> None:
    s_y = float(np.float32(s_x * ratio))
    x = np.arange(zp_x + 1, 128, dtype=np.int8)[None]
    model = elementwise_models.unary("LOG", spec(x.shape, s_x, zp_x), spec(x.shape, s_y, zp_y))
    expected = lookup_tables.log(s_x, zp_x, s_y, zp_y)[None, zp_x + 129 :]
    check(model, [x], expected, expect_delegated=False)


@settings(max_examples=300)
@given(
    scales(2.0**-10, 1.0),
    ratios(2.0**-10, 2.0**10),
    st.tuples(zero_points, zero_points),
    st.one_of(
        st.sampled_from([0.0, 0.01, 0.1, 0.2, 0.25, 0.5, 1.0]), st.floats(-2.0, 2.0, width=32)
    ),
)
def test_leaky_relu(s_x, ratio, zps, alpha) -> None:
    zp_x, zp_y = zps
    s_y = float(np.float32(s_x * ratio))
    model = elementwise_models.leaky_relu(
        spec((1, 256), s_x, zp_x), spec((1, 256), s_y, zp_y), alpha
    )
    expected = lookup_tables.leaky_relu(s_x, zp_x, s_y, zp_y, alpha)[None]
    by_xnnpack = lookup_tables.leaky_relu_is_delegated(s_x, s_y, alpha)
    check(model, [ALL_INT8], expected, expect_delegated=by_xnnpack)


@settings(max_examples=300)
@given(scales(2.0**-10, 1.0), ratios(2.0**-10, 2.0**10), st.tuples(zero_points, zero_points))
def test_requantize_int8_to_int8(s_x, ratio, zps) -> None:
    zp_x, zp_y = zps
    s_y = float(np.float32(s_x * ratio))
    model = elementwise_models.quantize(spec((1, 256), s_x, zp_x), spec((1, 256), s_y, zp_y))
    expected = lookup_tables.requantize(s_x, zp_x, s_y, zp_y)[None]
    by_xnnpack = lookup_tables.requantize_is_delegated(s_x, s_y)
    check(model, [ALL_INT8], expected, expect_delegated=by_xnnpack)


@settings(max_examples=100)
@given(scales(2.0**-10, 1.0), ratios(2.0**-6, 2.0**6), st.tuples(zero_points, zero_points))
def test_requantize_between_int8_and_uint8(s_x, ratio, zps) -> None:
    zp_x, zp_y = zps
    s_y = float(np.float32(s_x * ratio))
    expected = lookup_tables.requantize_builtin(s_x, zp_x, s_y, zp_y)[None]
    all_uint8 = (ALL_INT8.astype(np.int16) + 128).astype(np.uint8)

    unsigned = spec((1, 256), s_x, zp_x + 128, np.uint8)
    model = elementwise_models.quantize(unsigned, spec((1, 256), s_y, zp_y))
    check(model, [all_uint8], expected, expect_delegated=False)

    unsigned = spec((1, 256), s_y, zp_y + 128, np.uint8)
    model = elementwise_models.quantize(spec((1, 256), s_x, zp_x), unsigned)
    expected = (expected.astype(np.int16) + 128).astype(np.uint8)
    check(model, [ALL_INT8], expected, expect_delegated=False)


@settings(max_examples=150)
@given(scales(2.0**-12, 4.0), zero_points, seeds)
def test_quantize_from_float(s_y, zp_y, seed) -> None:
    rng = np.random.default_rng(seed)
    ties = np.arange(-600, 600) / 2 * s_y
    noise = rng.uniform(-200, 200, 500) * s_y
    ends = [0.0, -0.0, 1e30, -1e30, 3.4e38, -3.4e38, np.inf, -np.inf, 1e-40]
    x = np.concatenate([ties, noise, ends]).astype(np.float32)[None]
    model = elementwise_models.quantize(Spec(x.shape, np.float32), spec(x.shape, s_y, zp_y))
    check(model, [x], elementwise.quantize(x, s_y, zp_y), expect_delegated=True)


@settings(max_examples=50)
@given(scales(2.0**-12, 4.0), zero_points)
def test_dequantize(s_x, zp_x) -> None:
    model = elementwise_models.dequantize(spec((1, 256), s_x, zp_x), Spec((1, 256), np.float32))
    check(model, [ALL_INT8], elementwise.dequantize(ALL_INT8, s_x, zp_x), expect_delegated=True)
