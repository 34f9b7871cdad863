"""Multipliers, tables and indices that lowering computes are those of the oracle, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.convert.graph import Quantization, Tensor
from edgeinfer.convert.lower import fixed_point, multipliers
from edgeinfer.convert.lower.activations import activation_bounds, chained, quantized_bounds
from edgeinfer.convert.lower.resize import (
    builtin_interpolation,
    interpolation,
    onnx_nearest,
    onnx_positions,
    tflite_nearest,
    tflite_positions,
)
from edgeinfer.convert.lower.tables import all_bytes, byte_table, int16_table
from tests.oracle import elementwise, lookup_tables, pooling, requantize, resize, softmax
from tests.oracle import fixed_point as oracle_fixed_point
from tests.oracle.strategies import ratios, scales, zero_points

F32 = np.float32
FEW = settings(max_examples=40)
integers_of_int8 = st.integers(-128, 127)


def tensor(scale: float, zero_point: int, dtype: str = "int8") -> Tensor:
    return Tensor("t", (1,), dtype, Quantization.per_tensor(scale, zero_point))


def by_value(table: np.ndarray) -> np.ndarray:
    """A table in the order of the byte, reordered from -128 to 127 as the oracle's are."""
    return np.concatenate([table[128:], table[:128]])


# --- multipliers


@given(scales(), st.lists(scales(), min_size=1, max_size=5), scales())
def test_multipliers_of_weights(s_x: float, s_w: list[float], s_y: float) -> None:
    weights = np.array(s_w, np.float32)
    np.testing.assert_array_equal(
        multipliers.conv_multipliers(F32(s_x), weights, F32(s_y)),
        requantize.multipliers(s_x, weights, s_y),
    )


@given(scales(), scales(), scales())
def test_multiplier_of_a_product(s_a: float, s_b: float, s_y: float) -> None:
    ours = multipliers.product_multiplier(F32(s_a), F32(s_b), F32(s_y))
    assert ours == elementwise.multiplier_of_mul(s_a, s_b, s_y)


@given(scales(), zero_points, ratios(0.1, 10), zero_points, ratios(0.1, 10), st.booleans())
def test_parameters_of_a_sum(
    s_a: float, z_a: int, r_b: float, z_b: int, r_y: float, subtract: bool
) -> None:
    s_b, s_y = float(F32(s_a * r_b)), float(F32(s_a * r_y))
    ours = multipliers.add_parameters(F32(s_a), z_a, F32(s_b), z_b, F32(s_y), subtract=subtract)
    theirs = elementwise.add_parameters(s_a, z_a, s_b, z_b, s_y, subtract=subtract)
    assert (ours.a_multiplier, ours.b_multiplier, ours.bias, ours.shift) == theirs


@given(zero_points, zero_points, ratios(2.0**-30, 2.0**-10), ratios(2.0**-30, 2.0**19))
def test_a_sum_of_scales_far_apart_fits_int32(z_a: int, z_b: int, r_a: float, r_b: float) -> None:
    p = multipliers.add_parameters(F32(r_a), z_a, F32(r_b), z_b, F32(1.0))
    assert 1 <= p.shift <= 30
    largest = 128 * (abs(p.a_multiplier) + abs(p.b_multiplier)) + abs(p.bias)
    assert largest < 2**31
    assert p.b_multiplier == pytest.approx(r_b * 2.0**p.shift, abs=0.5, rel=1e-6)


def test_a_sum_of_a_much_coarser_input_is_refused() -> None:
    with pytest.raises(multipliers.ScaleRatioError):
        multipliers.add_parameters(F32(2.0**20), 0, F32(1.0), 0, F32(1.0))


@given(st.integers(-(2**63), 2**63 - 1))
def test_words_of_a_bias(value: int) -> None:
    low, high = multipliers.split_int64(value)
    assert -(2**31) <= low < 2**31 and -(2**31) <= high < 2**31
    assert (high << 32) + (low & 0xFFFFFFFF) == value


@given(scales(), zero_points, ratios(0.1, 10), zero_points, st.integers(1, 10000), st.booleans())
def test_parameters_of_a_reduction(
    s_x: float, z_x: int, ratio: float, z_y: int, count: int, mean: bool
) -> None:
    s_y = float(F32(s_x * ratio))
    ours = multipliers.reduce_parameters(F32(s_x), z_x, F32(s_y), z_y, count, mean=mean)
    assert ours == pooling.reduce_parameters(s_x, z_x, s_y, z_y, count, mean=mean)


@given(scales(2.0**-12, 1.0), st.sampled_from([1.0, 0.5, 2.0]))
def test_exponentials_of_a_softmax(s_x: float, beta: float) -> None:
    np.testing.assert_array_equal(
        multipliers.exp_table(F32(s_x), beta, "int8"), softmax.exp_table(s_x, beta)
    )


@given(scales(2.0**-14, 2.0**-8), st.integers(0, 65535))
def test_exponentials_of_a_softmax_of_int16(s_x: float, distance: int) -> None:
    table = multipliers.exp_table(F32(s_x), 1.0, "int16")
    assert table.shape == (512,) and table[0] == table[256] == 1
    product = float(table[distance >> 8]) * float(table[256 + (distance & 255)])
    assert product == pytest.approx(np.exp(-float(F32(s_x)) * distance), rel=1e-4, abs=1e-30)


@given(scales(2.0**-6, 1.0), zero_points, st.sampled_from(["RELU", "RELU6", "RELU_N1_TO_1"]))
def test_clamps_of_tflite(s_y: float, z_y: int, activation: str) -> None:
    ours = quantized_bounds(activation.lower(), tensor(s_y, z_y), "tflite")
    assert ours == requantize.activation_range(activation, s_y, z_y)


def test_clamps_of_onnx_round_before_the_zero_point() -> None:
    y = tensor(4.0, 1)  # 6 / 4 = 1.5: 2 + 1 by ONNX, rne(2.5) by TFLite
    assert quantized_bounds("relu6", y, "onnx") == (1, 3)
    assert quantized_bounds("relu6", y, "tflite") == (1, 2)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 9)), min_size=2, max_size=2), st.floats())
def test_ranges_in_a_row_are_one_range(ranges: list[tuple[float, float]], x: float) -> None:
    (a, wide_a), (b, wide_b) = ranges
    first, then = ("clip", a, a + wide_a), (b, b + wide_b)
    bounds = activation_bounds(chained(first, then))
    if np.isfinite(x):
        expected = np.clip(np.clip(x, *first[1:]), *then)
        assert np.clip(x, *bounds) == expected


# --- tables


TFLITE_TABLES: dict[str, tuple[dict[str, Any], Callable[..., np.ndarray]]] = {
    "sigmoid": ({}, lookup_tables.logistic),
    "tanh": ({}, lookup_tables.tanh),
    "elu": ({"alpha": 1.0}, lookup_tables.elu),
    "exp": ({}, lookup_tables.exp),
    "log": ({}, lookup_tables.log),
    "abs": ({}, lookup_tables.absolute),
    "hard_swish": ({}, lookup_tables.hard_swish),
    "gelu": ({"approximate": False}, lookup_tables.gelu),
    "requantize": ({}, lookup_tables.requantize),
    "relu": ({}, lambda s, z, t, v: lookup_tables.clipped(s, z, t, v, 0.0, None)),
    "relu6": ({}, lambda s, z, t, v: lookup_tables.clipped(s, z, t, v, 0.0, 6.0)),
    "relu_n1_to_1": ({}, lambda s, z, t, v: lookup_tables.clipped(s, z, t, v, -1.0, 1.0)),
}


@pytest.mark.parametrize("op", TFLITE_TABLES)
@FEW
@given(scales(2.0**-8, 1.0), zero_points, ratios(2.0**-9, 2.0**8), zero_points)
def test_tables_of_tflite(op: str, s_x: float, z_x: int, ratio: float, z_y: int) -> None:
    s_y = float(F32(s_x * ratio))
    attrs, oracle = TFLITE_TABLES[op]
    ours = byte_table(op, attrs, None, tensor(s_x, z_x), tensor(s_y, z_y), "tflite")
    np.testing.assert_array_equal(by_value(ours), oracle(s_x, z_x, s_y, z_y))


@given(scales(2.0**-8, 1.0), zero_points, scales(2.0**-8, 1.0), zero_points)
def test_table_of_the_approximate_gelu(s_x: float, z_x: int, s_y: float, z_y: int) -> None:
    x, y = tensor(s_x, z_x), tensor(s_y, z_y)
    ours = byte_table("gelu", {"approximate": True}, None, x, y, "tflite")
    oracle = lookup_tables.gelu(s_x, z_x, s_y, z_y, approximate=True)
    np.testing.assert_array_equal(by_value(ours), oracle)


@given(
    scales(2.0**-8, 1.0),
    zero_points,
    ratios(2.0**-9, 2.0**8),
    zero_points,
    st.sampled_from([0.01, 0.1, 0.2, 0.5, 1.0, 3.0, -0.1, -0.5]),
)
def test_table_of_leaky_relu(s_x: float, z_x: int, ratio: float, z_y: int, alpha: float) -> None:
    s_y = float(F32(s_x * ratio))
    x, y = tensor(s_x, z_x), tensor(s_y, z_y)
    ours = byte_table("leaky_relu", {"alpha": alpha}, None, x, y, "tflite")
    oracle = lookup_tables.leaky_relu(s_x, z_x, s_y, z_y, alpha)
    np.testing.assert_array_equal(by_value(ours), oracle)


@given(scales(2.0**-8, 1.0), st.integers(0, 255), ratios(2.0**-4, 2.0**4), zero_points)
def test_requantisation_of_uint8_is_tflites_own(
    s_x: float, z_x: int, ratio: float, z_y: int
) -> None:
    s_y = float(F32(s_x * ratio))
    x, y = tensor(s_x, z_x, "uint8"), tensor(s_y, z_y)
    ours = byte_table("requantize", {}, None, x, y, "tflite")
    oracle = lookup_tables.requantize_builtin(s_x, z_x - 128, s_y, z_y)
    np.testing.assert_array_equal(ours, oracle)


ONNX_TABLES: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "sigmoid": ({}, lookup_tables.sigmoid_of_float),
    "tanh": ({}, lookup_tables.tanh_of_float),
    "exp": ({}, lookup_tables.exp_of_float),
    "elu": ({"alpha": 1.0}, lookup_tables.elu_of_float),
    "requantize": ({}, lambda x: x),
    "relu": ({}, lambda x: np.maximum(x, F32(0))),
    "abs": ({}, np.abs),
    "neg": ({}, np.negative),
    "hard_swish": ({}, lambda x: x * np.clip(x * F32(1 / 6) + F32(0.5), 0, 1)),
    "hard_sigmoid": (
        {"alpha": 0.2, "beta": 0.5},
        lambda x: np.clip(x * F32(0.2) + F32(0.5), F32(0), F32(1)),
    ),
    "leaky_relu": ({"alpha": 0.25}, lambda x: np.where(x < 0, x * F32(0.25), x)),
}


@pytest.mark.parametrize("op", ONNX_TABLES)
@FEW
@given(scales(2.0**-8, 1.0), zero_points, scales(2.0**-8, 1.0), zero_points)
def test_tables_of_onnx(op: str, s_x: float, z_x: int, s_y: float, z_y: int) -> None:
    attrs, function = ONNX_TABLES[op]
    ours = byte_table(op, attrs, None, tensor(s_x, z_x), tensor(s_y, z_y), "onnx")
    oracle = lookup_tables.onnx_float_table(function, s_x, z_x, s_y, z_y)
    np.testing.assert_array_equal(by_value(ours), oracle)


def test_a_fused_clamp_bounds_the_table() -> None:
    x, y = tensor(0.05, 3), tensor(0.1, -7)
    table = byte_table("requantize", {}, ("clip", -1.0, 2.0), x, y, "onnx")
    assert table.min() == -17 and table.max() == 13


def test_a_table_of_floats_has_the_functions_own_values() -> None:
    x = tensor(0.05, 3)
    y = Tensor("y", (1,), "float32")
    table = byte_table("sigmoid", {}, None, x, y, "onnx")
    reals = (all_bytes("int8").astype(np.float64) - 3) * float(F32(0.05))
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, 1 / (1 + np.exp(-reals)), rtol=1e-6)


@pytest.mark.parametrize("op", ["sigmoid", "tanh", "hard_swish"])
def test_a_table_of_513_samples_interpolates_closely(op: str) -> None:
    s_x, s_y = 8 / 32768, (1 / 32768 if op != "hard_swish" else 8 / 32768)
    x, y = tensor(s_x, 0, "int16"), tensor(s_y, 0, "int16")
    t = int16_table(op, {}, x, y).astype(np.int64)
    q = np.arange(-32768, 32768)
    i = 256 + (q >> 7)
    interpolated = t[i] + (((t[i + 1] - t[i]) * (q & 127) + 64) >> 7)
    reals = q * s_x
    exact = {
        "sigmoid": lambda: 1 / (1 + np.exp(-reals)),
        "tanh": lambda: np.tanh(reals),
        "hard_swish": lambda: reals * np.clip(reals + 3, 0, 6) / 6,
    }[op]()
    # The curvature between two samples, 2^-5 apart, is what linear interpolation misses; a kink
    # (hard_swish) costs more.
    apart = np.abs(interpolated - np.clip(exact / s_y, -32768, 32767))
    assert apart.max() <= (8 if op == "hard_swish" else 4)


# --- fixed point


reals = st.floats(-4, 4).filter(lambda v: v == 0 or abs(v) > 1e-9)


@given(reals)
def test_multipliers_in_fixed_point(real: float) -> None:
    ours = fixed_point.quantize_multiplier(real)
    assert ours == oracle_fixed_point.quantize_multiplier(real)


@pytest.mark.parametrize("real", [0.0, 0.5, -0.5, 1.0, -1.0, 1 - 2.0**-40, 2.0**-40, 2.0**40])
def test_multipliers_in_fixed_point_at_powers_of_two(real: float) -> None:
    ours = fixed_point.quantize_multiplier(real)
    assert ours == oracle_fixed_point.quantize_multiplier(real)


@given(st.lists(st.integers(-(2**15), 2**15), min_size=1), reals)
def test_products_in_fixed_point(values: list[int], real: float) -> None:
    x = np.array(values, np.int64)
    np.testing.assert_array_equal(
        fixed_point.multiply(x, real), oracle_fixed_point.multiply_by_quantized_multiplier(x, real)
    )
    np.testing.assert_array_equal(
        fixed_point.multiply_rounding_up(x, real), oracle_fixed_point.multiply_rounding_up(x, real)
    )


# --- resizing


sizes = st.integers(1, 40)
modes = st.sampled_from(
    [
        ("asymmetric", {}),
        ("align_corners", {"align_corners": True}),
        ("half_pixel", {"half_pixel_centers": True}),
    ]
)


def same_axis(ours: np.ndarray, oracle: resize.Axis) -> None:
    """Weights may differ where both indices are one."""
    first, second, weight = oracle
    np.testing.assert_array_equal(ours[:, 0], first)
    np.testing.assert_array_equal(ours[:, 1], second)
    used = first != second
    np.testing.assert_array_equal(ours[used, 2], weight[used])
    assert ours[:, 2].min() >= 0


@given(sizes, sizes, modes)
def test_axes_of_tflite(n_in: int, n_out: int, mode: tuple[str, Any]) -> None:
    coordinates, flags = mode
    ours = interpolation(tflite_positions(n_in, n_out, coordinates), n_in)
    same_axis(ours, resize.bilinear_axis(n_in, n_out, **flags))
    nearest = tflite_nearest(n_in, n_out, coordinates)
    np.testing.assert_array_equal(nearest, resize.nearest_axis(n_in, n_out, **flags))


@given(sizes, sizes, modes)
def test_axes_of_tflites_own_kernel(n_in: int, n_out: int, mode: tuple[str, Any]) -> None:
    coordinates, flags = mode
    ours = builtin_interpolation(n_in, n_out, coordinates)
    same_axis(ours, resize.bilinear_axis_builtin(n_in, n_out, **flags))


@given(
    sizes,
    sizes,
    st.sampled_from(["asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel"]),
    st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
)
def test_axes_of_onnx(n_in: int, n_out: int, coordinates: str, rounding: str) -> None:
    positions = onnx_positions(n_in, n_out, None, coordinates)
    np.testing.assert_array_equal(positions, resize.onnx_positions(n_in, n_out, coordinates))
    axis = resize.onnx_bilinear_axis(n_in, n_out, coordinates)
    same_axis(interpolation(positions, n_in), axis)
    np.testing.assert_array_equal(
        onnx_nearest(positions, n_in, rounding),
        resize.onnx_nearest_axis(n_in, n_out, coordinates, rounding),
    )
