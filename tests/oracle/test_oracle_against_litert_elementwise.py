"""Operators on two tensors, and in and out of float32: the oracle gives LiteRT's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.oracle import elementwise
from tests.oracle.litert_checks import check, spec
from tests.oracle.requantize import activation_range
from tests.oracle.strategies import (
    PAIRS,
    activations,
    integers,
    ratios,
    scales,
    zero_points,
)


@pytest.mark.parametrize("code", ["ADD", "SUB"])
@settings(max_examples=60)
@given(
    scales(2.0**-6, 2.0**-2),
    ratios(2.0**-4, 2.0**4),
    ratios(0.5, 4.0),
    st.tuples(zero_points, zero_points, zero_points),
    activations,
)
def test_add_and_sub_of_every_pair(code, s_a, ratio_b, ratio_y, zps, act) -> None:
    zp_a, zp_b, zp_y = zps
    s_b = float(np.float32(s_a * ratio_b))
    s_y = float(np.float32(max(s_a, s_b) * ratio_y))
    clamp = activation_range(act, s_y, zp_y)
    assume(clamp[0] < clamp[1])
    a, b = PAIRS
    parameters = elementwise.add_parameters(s_a, zp_a, s_b, zp_b, s_y, subtract=code == "SUB")
    expected = elementwise.add(a, b, parameters, zp_y, clamp)
    model = elementwise_models.binary(
        code,
        spec(a.shape, s_a, zp_a),
        spec(b.shape, s_b, zp_b),
        spec(a.shape, s_y, zp_y),
        activation=act,
    )
    check(model, [a, b], expected, expect_delegated=True)


@settings(max_examples=60)
@given(
    scales(2.0**-6, 2.0**-2),
    scales(2.0**-6, 2.0**-2),
    ratios(2.0**-2, 2.0**9),
    st.tuples(zero_points, zero_points, zero_points),
    activations,
)
def test_mul_of_every_pair(s_a, s_b, ratio_y, zps, act) -> None:
    zp_a, zp_b, zp_y = zps
    s_y = float(np.float32(s_a * s_b * ratio_y))
    clamp = activation_range(act, s_y, zp_y)
    assume(clamp[0] < clamp[1])
    a, b = PAIRS
    m = elementwise.multiplier_of_mul(s_a, s_b, s_y)
    expected = elementwise.mul(a, zp_a, b, zp_b, m, zp_y, clamp)
    model = elementwise_models.binary(
        "MUL",
        spec(a.shape, s_a, zp_a),
        spec(b.shape, s_b, zp_b),
        spec(a.shape, s_y, zp_y),
        activation=act,
    )
    check(model, [a, b], expected, expect_delegated=True)


@pytest.mark.parametrize("code", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("shape_b", [(1, 1, 1, 6), (1, 4, 5, 1), (1,), (3, 4, 5, 6), (1, 5, 1)])
def test_binary_operators_broadcast(code, shape_b) -> None:
    a, b = integers(7, (3, 4, 5, 6)), integers(9, shape_b)
    if code == "MUL":
        expected = elementwise.mul(a, 3, b, -5, elementwise.multiplier_of_mul(0.5, 0.25, 9.0), 7)
        s_y = 9.0
    else:
        parameters = elementwise.add_parameters(0.5, 3, 0.25, -5, 0.6, subtract=code == "SUB")
        expected = elementwise.add(a, b, parameters, 7)
        s_y = 0.6
    y_spec = spec(expected.shape, s_y, 7)
    model = elementwise_models.binary(code, spec(a.shape, 0.5, 3), spec(shape_b, 0.25, -5), y_spec)
    check(model, [a, b], expected, expect_delegated=True)


@pytest.mark.parametrize("code", ["MAXIMUM", "MINIMUM"])
def test_maximum_and_minimum_compare_stored_values(code) -> None:
    a, b = integers(1, (2, 3, 4, 5)), integers(2, (1, 1, 1, 5))
    function = {"MAXIMUM": np.maximum, "MINIMUM": np.minimum}[code]
    q = spec(a.shape, 0.5, 3)
    model = elementwise_models.binary(code, q, spec(b.shape, 0.5, 3), q)
    check(model, [a, b], function(a, b), expect_delegated=False)
