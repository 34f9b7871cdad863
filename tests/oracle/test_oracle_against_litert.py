"""The oracle gives LiteRT's bits, operator by operator.

Each test says by `expect_delegated` who runs the operator in LiteRT's default path: XNNPACK or
TFLite's builtin kernel. Should a later LiteRT change that, the test says so first.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders import tflite_pool_ops as pool_models
from tests.builders import tflite_shape_ops as shape_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_run import delegated, run
from tests.oracle import convolution, elementwise, lookup_tables, pooling, resize, softmax
from tests.oracle.requantize import activation_range, multipliers, requantize
from tests.oracle.strategies import (
    activations,
    biases,
    channel_scales,
    integers,
    output_scale,
    ratios,
    scales,
    seeds,
    weights,
    zero_points,
)

ALL_INT8 = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)
spreads = st.sampled_from([1.0, 30.0, 60.0, 1000.0])
small = st.integers(1, 3)


def spec(shape, scale, zero_point, dtype=np.int8) -> Spec:
    return Spec(tuple(shape), dtype, Quant(scale, zero_point))


def check(model: bytes, inputs, expected: np.ndarray, *, expect_delegated: bool) -> None:
    assert delegated(model) == expect_delegated
    np.testing.assert_array_equal(run(model, *inputs)[0], expected)


@st.composite
def windows(draw: st.DrawFn):
    """Image, kernel, strides, dilations and padding of a convolution with an output."""
    kernel = draw(st.tuples(small, small))
    strides = draw(st.tuples(small, small))
    dilated = strides == (1, 1)
    dilations = draw(st.tuples(small, small)) if dilated else (1, 1)
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    image = tuple(draw(st.integers(n, n + 8)) for n in least)
    return image, kernel, strides, dilations, padding


@st.composite
def convolutions(draw: st.DrawFn):
    image, kernel, strides, dilations, padding = draw(windows())
    batch = draw(st.integers(1, 2))
    s_x, zp_x, zp_y = draw(scales(2.0**-8, 2.0**-2)), draw(zero_points), draw(zero_points)
    return {
        "x": integers(draw(seeds), (batch, *image, draw(st.sampled_from([1, 2, 3, 4, 8, 17])))),
        "kernel": kernel,
        "seed": draw(seeds),
        "out_channels": draw(st.sampled_from([1, 2, 5, 8, 16, 24])),
        "per_channel": draw(st.booleans()),
        "quant": (s_x, zp_x, zp_y),
        "spread": draw(spreads),
        "activation": draw(activations),
        "geometry": {"strides": strides, "dilations": dilations, "padding": padding},
    }


def check_convolution(case, filters, axis, make, sum_up) -> None:
    """Sum with `sum_up`, requantise, and compare with the model that `make` builds."""
    s_x, zp_x, zp_y = case["quant"]
    x, geometry = case["x"], case["geometry"]
    count = filters.shape[axis]
    s_w = channel_scales(case["seed"], count if case["per_channel"] else 1)
    bias = biases(case["seed"], count)
    _, padding = convolution.resolve_padding(
        geometry["padding"],
        x.shape[1:3],
        case["kernel"],
        geometry["strides"],
        geometry["dilations"],
    )
    sums = sum_up(x, zp_x, filters, bias, **{**geometry, "padding": padding})
    s_y = output_scale(sums, s_x, s_w, case["spread"])
    m = multipliers(s_x, s_w, s_y)
    clamp = activation_range(case["activation"], s_y, zp_y)
    assume(clamp[0] < clamp[1] and m.max() < 256)
    model = make(
        spec(x.shape, s_x, zp_x),
        filters,
        Quant(s_w, 0, axis),
        bias,
        spec(sums.shape, s_y, zp_y),
        activation=case["activation"],
        **geometry,
    )
    check(model, [x], requantize(sums, m, zp_y, clamp), expect_delegated=True)


@settings(max_examples=200)
@given(convolutions())
def test_conv_2d(case) -> None:
    shape = (case["out_channels"], *case["kernel"], case["x"].shape[3])
    filters = weights(case["seed"], shape)
    check_convolution(case, filters, 0, matmul_models.conv_2d, convolution.conv_2d_sums)


@settings(max_examples=60)
@given(convolutions(), st.sampled_from([2, 4]), st.integers(1, 3), st.integers(1, 3))
def test_grouped_conv_2d(case, groups, group_in, group_out) -> None:
    batch, height, width, _ = case["x"].shape
    case["x"] = integers(case["seed"], (batch, height, width, groups * group_in))
    filters = weights(case["seed"], (groups * group_out, *case["kernel"], group_in))
    check_convolution(case, filters, 0, matmul_models.conv_2d, convolution.conv_2d_sums)


@settings(max_examples=200)
@given(convolutions(), st.integers(1, 3))
def test_depthwise_conv_2d(case, multiplier) -> None:
    channels = case["x"].shape[3] * multiplier
    filters = weights(case["seed"], (1, *case["kernel"], channels))
    make, sum_up = matmul_models.depthwise_conv_2d, convolution.depthwise_conv_2d_sums
    check_convolution(case, filters, 3, make, sum_up)


@settings(max_examples=150)
@given(convolutions())
def test_transpose_conv(case) -> None:
    (s_x, zp_x, zp_y), x, kernel = case["quant"], case["x"], case["kernel"]
    strides, padding = case["geometry"]["strides"], case["geometry"]["padding"]
    # XNNPACK leaves SAME with a kernel smaller than its stride to the builtin kernel.
    assume(padding == "VALID" or all(k >= s for k, s in zip(kernel, strides, strict=True)))
    filters = weights(case["seed"], (case["out_channels"], *kernel, x.shape[3]))
    s_w = channel_scales(case["seed"], len(filters) if case["per_channel"] else 1)
    bias = biases(case["seed"], len(filters))
    shape = x.shape[1:3]
    if padding == "SAME":
        out = tuple(n * s for n, s in zip(shape, strides, strict=True))
    else:
        out = tuple((n - 1) * s + k for n, s, k in zip(shape, strides, kernel, strict=True))
    origin = convolution.transpose_conv_origin(padding, shape, out, kernel, strides)
    sums = convolution.transpose_conv_sums(
        x, zp_x, filters, bias, out, strides=strides, origin=origin
    )
    s_y = output_scale(sums, s_x, s_w, case["spread"])
    m = multipliers(s_x, s_w, s_y)
    clamp = activation_range(case["activation"], s_y, zp_y)
    assume(clamp[0] < clamp[1] and m.max() < 256)
    model = matmul_models.transpose_conv(
        spec(x.shape, s_x, zp_x),
        filters,
        Quant(s_w),
        bias,
        spec(sums.shape, s_y, zp_y),
        strides=strides,
        padding=padding,
        activation=case["activation"],
    )
    check(model, [x], requantize(sums, m, zp_y, clamp), expect_delegated=True)


@settings(max_examples=200)
@given(
    st.integers(1, 5),
    st.integers(1, 300),
    st.sampled_from([1, 2, 7, 16, 33]),
    scales(2.0**-8, 2.0**-2),
    st.tuples(zero_points, zero_points),
    seeds,
    st.booleans(),
    spreads,
    activations,
)
def test_fully_connected(rows, depth, units, s_x, zps, seed, per_channel, spread, act) -> None:
    zp_x, zp_y = zps
    x, filters = integers(seed, (rows, depth)), weights(seed // 3, (units, depth))
    s_w, bias = channel_scales(seed, units if per_channel else 1), biases(seed, units)
    sums = convolution.fully_connected_sums(x, zp_x, filters, bias)
    s_y = output_scale(sums, s_x, s_w, spread)
    m = multipliers(s_x, s_w, s_y)
    clamp = activation_range(act, s_y, zp_y)
    assume(clamp[0] < clamp[1] and m.max() < 256)
    model = matmul_models.fully_connected(
        spec(x.shape, s_x, zp_x),
        filters,
        Quant(s_w),
        bias,
        spec(sums.shape, s_y, zp_y),
        activation=act,
    )
    check(model, [x], requantize(sums, m, zp_y, clamp), expect_delegated=True)


@settings(max_examples=100)
@given(
    st.integers(1, 5),
    st.integers(1, 200),
    st.integers(1, 20),
    st.tuples(scales(2.0**-8, 2.0**-2), scales(2.0**-8, 2.0**-2)),
    st.tuples(zero_points, zero_points, zero_points),
    seeds,
    st.sampled_from([1.0, 40.0]),
)
def test_batch_matmul(rows, depth, units, pair, zps, seed, spread) -> None:
    """A constant second input goes to XNNPACK; two activations to the builtin, within 1."""
    (s_a, s_b), (zp_a, zp_b, zp_y) = pair, zps
    a, b = integers(seed, (2, rows, depth)), integers(seed + 1, (2, depth, units))
    for constant in (True, False):
        zp = 0 if constant else zp_b
        sums = convolution.matmul_sums(a, zp_a, b, zp)
        s_y = output_scale(sums, s_a, np.float32(s_b), spread)
        m = multipliers(s_a, s_b, s_y)
        assume(m.max() < 256)
        a_spec, b_spec = spec(a.shape, s_a, zp_a), spec(b.shape, s_b, zp)
        y_spec, expected = spec(sums.shape, s_y, zp_y), requantize(sums, m, zp_y)
        if constant:
            model = matmul_models.batch_matmul(a_spec, b_spec, y_spec, b_values=b)
            check(model, [a], expected, expect_delegated=True)
        else:
            model = matmul_models.batch_matmul(a_spec, b_spec, y_spec)
            difference = run(model, a, b)[0].astype(int) - expected
            assert np.abs(difference).max() <= 1


PAIRS = np.stack(np.meshgrid(ALL_INT8[0], ALL_INT8[0])).reshape(2, 1, -1)


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


@settings(max_examples=150)
@given(scales(2.0**-8, 1.0), zero_points, st.integers(1, 400), seeds, st.booleans())
def test_softmax(s_x, zp_x, channels, seed, flat) -> None:
    x = np.full((3, channels), seed % 256 - 128, np.int8) if flat else integers(seed, (3, channels))
    model = elementwise_models.softmax(spec(x.shape, s_x, zp_x), spec(x.shape, 1 / 256, -128))
    check(model, [x], softmax.softmax(x, softmax.exp_table(s_x)), expect_delegated=False)


def test_softmax_rounds_a_half_up() -> None:
    x = np.zeros((1, 512), np.int8)
    model = elementwise_models.softmax(spec(x.shape, 0.1, 0), spec(x.shape, 1 / 256, -128))
    assert np.all(run(model, x)[0] == -127)
    assert np.all(softmax.softmax(x, softmax.exp_table(0.1)) == -127)


@pytest.mark.parametrize("code", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@settings(max_examples=150)
@given(windows(), seeds, st.integers(1, 40), scales(2.0**-8, 2.0**-1), zero_points, activations)
def test_pooling(code, window, seed, channels, scale, zero_point, act) -> None:
    image, kernel, strides, _, padding = window
    clamp = activation_range(act, scale, zero_point)
    assume(clamp[0] < clamp[1])
    x = integers(seed, (2, *image, channels))
    _, pads = convolution.resolve_padding(padding, image, kernel, strides, (1, 1))
    pool = pooling.average_pool_2d if code == "AVERAGE_POOL_2D" else pooling.max_pool_2d
    expected = pool(x, kernel, strides=strides, padding=pads, clamp=clamp)
    model = pool_models.pool_2d(
        code,
        spec(x.shape, scale, zero_point),
        spec(expected.shape, scale, zero_point),
        kernel,
        strides=strides,
        padding=padding,
        activation=act,
    )
    # XNNPACK leaves windows that skip pixels to the builtin kernel.
    dense = all(k >= s for k, s in zip(kernel, strides, strict=True))
    check(model, [x], expected, expect_delegated=code == "MAX_POOL_2D" and dense)


@pytest.mark.parametrize("code", ["MEAN", "SUM"])
@settings(max_examples=200)
@given(
    st.tuples(*[st.integers(1, 9)] * 4),
    st.sets(st.integers(0, 3), min_size=1),
    seeds,
    scales(2.0**-8, 1.0),
    ratios(2.0**-3, 2.0**3),
    st.tuples(zero_points, zero_points),
    st.booleans(),
)
def test_mean_and_sum(code, shape, axes, seed, s_x, ratio, zps, keep_dims) -> None:
    zp_x, zp_y = zps
    axes = sorted(axes)
    count = int(np.prod([shape[a] for a in axes]))
    s_y = float(np.float32(s_x * ratio * (1 if code == "MEAN" else count)))
    x = integers(seed, shape)
    parameters = pooling.reduce_parameters(s_x, zp_x, s_y, zp_y, count, mean=code == "MEAN")
    expected = pooling.reduce_sum(x, axes, *parameters, keep_dims=keep_dims)
    model = pool_models.reduce(
        code, spec(shape, s_x, zp_x), spec(expected.shape, s_y, zp_y), axes, keep_dims
    )
    check(model, [x], expected, expect_delegated=True)


RESIZE_MODES = [(False, False), (True, False), (False, True)]
sides = st.tuples(st.integers(1, 20), st.integers(1, 20))


@pytest.mark.parametrize(("align_corners", "half_pixel_centers"), RESIZE_MODES)
@settings(max_examples=120)
@given(sides, st.tuples(st.integers(1, 45), st.integers(1, 45)), st.integers(1, 35), seeds)
def test_resize(align_corners, half_pixel_centers, image, out, channels, seed) -> None:
    mode = {"align_corners": align_corners, "half_pixel_centers": half_pixel_centers}
    x = integers(seed, (1, *image, channels))
    x_spec, y_spec = spec(x.shape, 0.05, 3), spec((1, *out, channels), 0.05, 3)

    rows = resize.bilinear_axis(image[0], out[0], **mode)
    columns = resize.bilinear_axis(image[1], out[1], **mode)
    model = pool_models.resize("RESIZE_BILINEAR", x_spec, y_spec, **mode)
    check(model, [x], resize.resize_bilinear(x, rows, columns), expect_delegated=True)

    indices = [resize.nearest_axis(n, m, **mode) for n, m in zip(image, out, strict=True)]
    model = pool_models.resize("RESIZE_NEAREST_NEIGHBOR", x_spec, y_spec, **mode)
    check(model, [x], resize.resize_nearest(x, *indices), expect_delegated=False)


def _q(shape) -> Spec:
    return spec(shape, 0.5, 3)


X = integers(5, (1, 4, 6, 8))
PADS = [[0, 0], [1, 2], [3, 1], [0, 0]]
MOVEMENTS = {
    "CONCATENATION": (
        lambda: shape_models.concatenation([_q(X.shape)] * 2, _q((1, 4, 6, 16)), 3),
        lambda: np.concatenate([X, X], 3),
        True,
    ),
    "SPLIT": (
        lambda: shape_models.split(_q(X.shape), [_q((1, 4, 6, 4))] * 2, 3),
        lambda: X[..., :4],
        True,
    ),
    "SPLIT_V": (
        lambda: shape_models.split_v(_q(X.shape), [_q((1, 4, 6, 3)), _q((1, 4, 6, 5))], 3),
        lambda: X[..., :3],
        False,
    ),
    "SLICE": (
        lambda: shape_models.slice_(_q(X.shape), _q((1, 2, 6, 5)), [0, 1, 0, 3], [1, 2, 6, 5]),
        lambda: X[:, 1:3, :, 3:],
        True,
    ),
    "STRIDED_SLICE": (
        lambda: shape_models.strided_slice(
            _q(X.shape), _q((1, 2, 6, 8)), [0, 3, 0, 0], [1, 0, 6, 8], [1, -2, 1, 1]
        ),
        lambda: X[:, 3:0:-2],
        False,
    ),
    "PAD": (
        lambda: shape_models.pad(_q(X.shape), _q((1, 7, 10, 8)), PADS),
        lambda: np.pad(X, PADS, constant_values=3),
        True,
    ),
    "PADV2": (
        lambda: shape_models.pad_v2(_q(X.shape), _q((1, 7, 10, 8)), PADS, -128),
        lambda: np.pad(X, PADS, constant_values=-128),
        False,
    ),
    "MIRROR_PAD": (
        lambda: shape_models.mirror_pad(_q(X.shape), _q((1, 7, 10, 8)), PADS, "REFLECT"),
        lambda: np.pad(X, PADS, mode="reflect"),
        False,
    ),
    "TRANSPOSE": (
        lambda: shape_models.transpose(_q(X.shape), _q((1, 8, 4, 6)), [0, 3, 1, 2]),
        lambda: X.transpose(0, 3, 1, 2),
        True,
    ),
    "RESHAPE": (
        lambda: shape_models.reshape(_q(X.shape), _q((2, 96))),
        lambda: X.reshape(2, 96),
        True,
    ),
    "SQUEEZE": (
        lambda: shape_models.squeeze(_q(X.shape), _q(X.shape[1:]), [0]),
        lambda: X[0],
        False,
    ),
    "EXPAND_DIMS": (
        lambda: shape_models.expand_dims(_q(X.shape), _q((1, 4, 1, 6, 8)), 2),
        lambda: X[:, :, None],
        False,
    ),
    "GATHER": (
        lambda: shape_models.gather(_q(X.shape), _q((1, 3, 6, 8)), np.array([2, 0, 2]), 1),
        lambda: X[:, [2, 0, 2]],
        False,
    ),
    "PACK": (
        lambda: shape_models.pack([_q(X.shape)] * 2, _q((1, 2, 4, 6, 8)), 1),
        lambda: np.stack([X, X], 1),
        False,
    ),
    "UNPACK": (
        lambda: shape_models.unpack(_q((4, 6, 8)), [_q((6, 8))] * 4, 0),
        lambda: X[0, 0],
        False,
    ),
    "SPACE_TO_DEPTH": (
        lambda: shape_models.space_depth("SPACE_TO_DEPTH", _q(X.shape), _q((1, 2, 3, 32)), 2),
        lambda: X.reshape(1, 2, 2, 3, 2, 8).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2, 3, 32),
        True,
    ),
    "DEPTH_TO_SPACE": (
        lambda: shape_models.space_depth("DEPTH_TO_SPACE", _q(X.shape), _q((1, 8, 12, 2)), 2),
        lambda: X.reshape(1, 4, 6, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 8, 12, 2),
        True,
    ),
    "REDUCE_MAX": (
        lambda: pool_models.reduce("REDUCE_MAX", _q(X.shape), _q((1, 8)), [1, 2]),
        lambda: X.max((1, 2)),
        True,
    ),
    "ARG_MAX": (
        lambda: pool_models.arg_max(_q(X.shape), Spec((1, 4, 6), np.int32), 3),
        lambda: X.argmax(3).astype(np.int32),
        False,
    ),
}


@pytest.mark.parametrize("code", list(MOVEMENTS))
def test_movement_is_what_numpy_does(code) -> None:
    make, expected, expect_delegated = MOVEMENTS[code]
    inputs = {"CONCATENATION": [X, X], "PACK": [X, X], "UNPACK": [X[0]]}.get(code, [X])
    check(make(), inputs, expected(), expect_delegated=expect_delegated)
