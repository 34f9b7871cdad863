"""The oracle against onnxruntime: bit for bit where that was found to hold, else within one step.

onnxruntime computes some operators in float32 between DequantizeLinear and QuantizeLinear, with
roundings of its own. `docs/internals/numerics.md` says how many values differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import onnx_qdq_ops as qdq
from tests.builders import onnx_qlinear_ops as qlinear
from tests.builders.onnx_run import run
from tests.builders.spec import Quant, Spec
from tests.oracle import convolution, elementwise, lookup_tables, pooling, resize, softmax
from tests.oracle.requantize import multipliers, requantize
from tests.oracle.strategies import (
    ALL_INT8,
    PAIRS,
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

spreads = st.sampled_from([1.0, 30.0, 60.0, 1000.0])
two_zero_points = st.tuples(zero_points, zero_points)


def spec(shape, scale, zero_point, dtype=np.int8) -> Spec:
    return Spec(tuple(shape), dtype, Quant(scale, zero_point))


def equal(model: bytes, inputs, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(run(model, *inputs)[0], expected)


def off_by_one(model: bytes, inputs, expected: np.ndarray) -> None:
    difference = run(model, *inputs)[0].astype(int) - expected
    assert np.abs(difference).max() <= 1


def as_unsigned(x: np.ndarray, x_spec: Spec, y: np.ndarray, y_spec: Spec):
    """The same numbers as uint8: values and zero points are 128 higher."""

    def moved(values: np.ndarray, of: Spec) -> tuple[np.ndarray, Spec]:
        quant = of.quantization
        quant = Quant(quant.scale, quant.zero_points + 128)
        return (values.astype(np.int16) + 128).astype(np.uint8), Spec(of.shape, np.uint8, quant)

    return (*moved(x, x_spec), *moved(y, y_spec))


def nchw(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


@st.composite
def convolutions(draw: st.DrawFn):
    """Image, filters and geometry, with any padding smaller than the window."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padding = [draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))) for n in reach]
    image = [draw(st.integers(n, n + 7)) for n in reach]
    groups = draw(st.sampled_from([1, 1, 2]))
    channels = groups * draw(st.integers(1, 9))
    seed, out = draw(seeds), groups * draw(st.integers(1, 9))
    return {
        "x": integers(seed, (1, *image, channels)),
        "filters": weights(seed // 3, (out, *kernel, channels // groups)),
        "s_w": channel_scales(seed, out if draw(st.booleans()) else 1),
        "bias": biases(seed, out),
        "quant": (draw(scales(2.0**-8, 2.0**-2)), draw(zero_points), draw(zero_points)),
        "spread": draw(spreads),
        "geometry": {"strides": strides, "dilations": dilations, "padding": tuple(padding)},
        "attributes": {
            "group": groups,
            "kernel_shape": kernel,
            "strides": strides,
            "dilations": dilations,
            "pads": [p[0] for p in padding] + [p[1] for p in padding],
        },
    }


@settings(max_examples=200)
@given(convolutions())
def test_conv(case) -> None:
    s_x, zp_x, zp_y = case["quant"]
    x, filters, s_w, bias = case["x"], case["filters"], case["s_w"], case["bias"]
    sums = convolution.conv_2d_sums(x, zp_x, filters, bias, **case["geometry"])
    s_y = output_scale(sums, s_x, s_w, case["spread"])
    expected = nchw(requantize(sums, multipliers(s_x, s_w, s_y), zp_y))
    x, filters = nchw(x), nchw(filters)
    x_spec, y_spec = spec(x.shape, s_x, zp_x), spec(expected.shape, s_y, zp_y)
    attributes = case["attributes"]

    # On x86-64 onnxruntime leaves QDQ with int8 activations in float32, and fuses uint8. Its
    # QLinearConv and QGemm of int8 saturate on CPUs without VNNI; of uint8 they can be told not to.
    model = qdq.weighted("Conv", x_spec, filters, Quant(s_w), bias, y_spec, **attributes)
    off_by_one(model, [x], expected)
    x, x_spec, expected, y_spec = as_unsigned(x, x_spec, expected, y_spec)
    model = qdq.weighted("Conv", x_spec, filters, Quant(s_w), bias, y_spec, **attributes)
    equal(model, [x], expected)
    equal(qlinear.conv(x_spec, filters, Quant(s_w), bias, y_spec, **attributes), [x], expected)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    scales(2.0**-8, 2.0**-2),
    two_zero_points,
    seeds,
)
def test_conv_transpose(image, kernel, strides, channels, s_x, zps, seed) -> None:
    """onnxruntime runs ConvTranspose in float32."""
    (zp_x, zp_y), (c_in, c_out) = zps, channels
    x, filters = integers(seed, (1, *image, c_in)), weights(seed // 3, (c_out, *kernel, c_in))
    s_w, bias = channel_scales(seed, 1), biases(seed, c_out)
    out = tuple((n - 1) * s + k for n, s, k in zip(image, strides, kernel, strict=True))
    sums = convolution.transpose_conv_sums(x, zp_x, filters, bias, out, strides=strides)
    s_y = output_scale(sums, s_x, s_w, 40.0)
    expected = nchw(requantize(sums, multipliers(s_x, s_w, s_y), zp_y))
    model = qdq.weighted(
        "ConvTranspose",
        spec(nchw(x).shape, s_x, zp_x),
        np.ascontiguousarray(filters.transpose(3, 0, 1, 2)),
        Quant(s_w),
        bias,
        spec(expected.shape, s_y, zp_y),
        strides=strides,
    )
    off_by_one(model, [nchw(x)], expected)


@settings(max_examples=150)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 200), st.integers(1, 20)),
    scales(2.0**-8, 2.0**-2),
    two_zero_points,
    seeds,
    st.booleans(),
    spreads,
)
def test_gemm_and_matmul(sizes, s_x, zps, seed, per_channel, spread) -> None:
    (rows, depth, units), (zp_x, zp_y) = sizes, zps
    x, filters = integers(seed, (rows, depth)), weights(seed // 3, (units, depth))
    s_w, bias = channel_scales(seed, units if per_channel else 1), biases(seed, units)
    x_spec = spec(x.shape, s_x, zp_x)

    sums = convolution.fully_connected_sums(x, zp_x, filters, bias)
    s_y = output_scale(sums, s_x, s_w, spread)
    expected = requantize(sums, multipliers(s_x, s_w, s_y), zp_y)
    y_spec = spec(expected.shape, s_y, zp_y)
    equal(qdq.weighted("Gemm", x_spec, filters, Quant(s_w), bias, y_spec, transB=1), [x], expected)
    unsigned, u_spec, expected, y_spec = as_unsigned(x, x_spec, expected, y_spec)
    model = qlinear.gemm(u_spec, filters, Quant(s_w), bias, y_spec)
    equal(model, [unsigned], expected)

    sums = convolution.fully_connected_sums(x, zp_x, filters)
    s_y = output_scale(sums, s_x, s_w, spread)
    expected = requantize(sums, multipliers(s_x, s_w, s_y), zp_y)
    y_spec, columns = spec(expected.shape, s_y, zp_y), np.ascontiguousarray(filters.T)
    quant = Quant(s_w, 0, 1)
    off_by_one(qdq.weighted("MatMul", x_spec, columns, quant, None, y_spec), [x], expected)
    x, x_spec, expected, y_spec = as_unsigned(x, x_spec, expected, y_spec)
    equal(qdq.weighted("MatMul", x_spec, columns, quant, None, y_spec), [x], expected)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 200), st.integers(1, 20)),
    st.tuples(scales(2.0**-8, 2.0**-2), scales(2.0**-8, 2.0**-2)),
    st.tuples(zero_points, zero_points, zero_points),
    seeds,
)
def test_matmul_of_two_activations(sizes, pair, zps, seed) -> None:
    (rows, depth, units), (s_a, s_b), (zp_a, zp_b, zp_y) = sizes, pair, zps
    a, b = integers(seed, (2, rows, depth)), integers(seed + 1, (2, depth, units))
    sums = convolution.matmul_sums(a, zp_a, b, zp_b)
    s_y = output_scale(sums, s_a, np.float32(s_b), 40.0)
    expected = requantize(sums, multipliers(s_a, s_b, s_y), zp_y)
    operands = spec(a.shape, s_a, zp_a), spec(b.shape, s_b, zp_b), spec(sums.shape, s_y, zp_y)
    off_by_one(qdq.binary("MatMul", *operands), [a, b], expected)
    equal(qlinear.matmul(*operands), [a, b], expected)


@settings(max_examples=40)
@given(
    scales(2.0**-6, 2.0**-2),
    ratios(2.0**-2, 2.0**2),
    ratios(0.5, 4.0),
    st.tuples(zero_points, zero_points, zero_points),
)
def test_add_and_sub_of_every_pair(s_a, ratio_b, ratio_y, zps) -> None:
    """onnxruntime adds in float32; it rounds a tie to even, the oracle rounds it up."""
    zp_a, zp_b, zp_y = zps
    s_b = float(np.float32(s_a * ratio_b))
    s_y = float(np.float32(max(s_a, s_b) * ratio_y))
    a, b = PAIRS
    operands = spec(a.shape, s_a, zp_a), spec(b.shape, s_b, zp_b), spec(a.shape, s_y, zp_y)
    for subtract in (False, True):
        parameters = elementwise.add_parameters(s_a, zp_a, s_b, zp_b, s_y, subtract=subtract)
        expected = elementwise.add(a, b, parameters, zp_y)
        off_by_one(qdq.binary("Sub" if subtract else "Add", *operands), [a, b], expected)
        if not subtract:
            off_by_one(qlinear.binary("QLinearAdd", *operands), [a, b], expected)


@settings(max_examples=40)
@given(
    scales(2.0**-6, 2.0**-2),
    scales(2.0**-6, 2.0**-2),
    ratios(2.0**-2, 2.0**9),
    st.tuples(zero_points, zero_points, zero_points),
)
def test_mul_of_every_pair(s_a, s_b, ratio_y, zps) -> None:
    zp_a, zp_b, zp_y = zps
    s_y = float(np.float32(s_a * s_b * ratio_y))
    a, b = PAIRS
    m = elementwise.multiplier_of_mul(s_a, s_b, s_y)
    expected = elementwise.mul(a, zp_a, b, zp_b, m, zp_y)
    operands = spec(a.shape, s_a, zp_a), spec(b.shape, s_b, zp_b), spec(a.shape, s_y, zp_y)
    off_by_one(qdq.binary("Mul", *operands), [a, b], expected)
    off_by_one(qlinear.binary("QLinearMul", *operands), [a, b], expected)


SLOPE = np.float32(0.1)
FLOAT_FUNCTIONS: dict[str, lookup_tables.FloatFunction] = {
    "Sigmoid": lookup_tables.sigmoid_of_float,
    "Tanh": lookup_tables.tanh_of_float,
    "Elu": lookup_tables.elu_of_float,
    "Exp": lookup_tables.exp_of_float,
    "Abs": np.abs,
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, np.float32(0)),
    "LeakyRelu": lambda x: np.where(x < 0, x * SLOPE, x),
    "HardSwish": lambda x: x * np.clip(x * np.float32(1 / 6) + np.float32(0.5), 0, 1),
}


@pytest.mark.parametrize("operator", list(FLOAT_FUNCTIONS))
@settings(max_examples=60)
@given(scales(2.0**-10, 2.0), ratios(2.0**-4, 2.0**4), two_zero_points)
def test_unary_tables(operator, s_x, ratio, zps) -> None:
    zp_x, zp_y = zps
    s_y = float(np.float32(s_x * ratio))
    function = FLOAT_FUNCTIONS[operator]
    expected = lookup_tables.onnx_float_table(function, s_x, zp_x, s_y, zp_y)[None]
    attributes: dict[str, Any] = {"alpha": float(SLOPE)} if operator == "LeakyRelu" else {}
    x_spec, y_spec = spec((1, 256), s_x, zp_x), spec((1, 256), s_y, zp_y)
    equal(qdq.unary(operator, x_spec, y_spec, **attributes), [ALL_INT8], expected)
    if operator in ("Sigmoid", "LeakyRelu"):
        model = qlinear.unary(f"QLinear{operator}", x_spec, y_spec, **attributes)
        equal(model, [ALL_INT8], expected)


@settings(max_examples=100)
@given(scales(2.0**-10, 1.0), ratios(2.0**-8, 2.0**8), two_zero_points)
def test_requantize_and_concat(s_x, ratio, zps) -> None:
    zp_x, zp_y = zps
    s_y = float(np.float32(s_x * ratio))
    table = lookup_tables.onnx_float_table(lambda x: x, s_x, zp_x, s_y, zp_y)[None]
    x_spec, y_spec = spec((1, 256), s_x, zp_x), spec((1, 256), s_y, zp_y)
    equal(qdq.requantize(x_spec, y_spec), [ALL_INT8], table)

    expected, y_spec = np.concatenate([table, ALL_INT8], 1), spec((1, 512), s_y, zp_y)
    operands = [x_spec, spec((1, 256), s_y, zp_y)]
    equal(qdq.variadic("Concat", operands, y_spec, axis=1), [ALL_INT8] * 2, expected)
    equal(qlinear.concat(operands, y_spec, 1), [ALL_INT8] * 2, expected)


@settings(max_examples=100)
@given(scales(2.0**-12, 4.0), zero_points, seeds)
def test_quantize_and_dequantize(s_y, zp_y, seed) -> None:
    rng = np.random.default_rng(seed)
    ties = np.arange(-600, 600) / 2 * s_y
    noise = rng.uniform(-200, 200, 500) * s_y
    ends = [0.0, -0.0, 1e30, -1e30, 3.4e38, -3.4e38, np.inf, -np.inf, 1e-40]
    x = np.concatenate([ties, noise, ends]).astype(np.float32)[None]
    model = qdq.quantize(Spec(x.shape, np.float32), spec(x.shape, s_y, zp_y))
    equal(model, [x], elementwise.quantize_by_division(x, s_y, zp_y))
    model = qdq.dequantize(spec((1, 256), s_y, zp_y), Spec((1, 256), np.float32))
    equal(model, [ALL_INT8], elementwise.dequantize(ALL_INT8, s_y, zp_y))


@settings(max_examples=100)
@given(scales(2.0**-8, 1.0), zero_points, st.integers(1, 400), seeds)
def test_softmax(s_x, zp_x, channels, seed) -> None:
    x = integers(seed, (3, channels))
    expected = softmax.softmax(x, softmax.exp_table(s_x))
    x_spec, y_spec = spec(x.shape, s_x, zp_x), spec(x.shape, 1 / 256, -128)
    off_by_one(qdq.unary("Softmax", x_spec, y_spec, axis=-1), [x], expected)
    model = qlinear.unary("QLinearSoftmax", x_spec, y_spec, axis=1, opset=13)
    off_by_one(model, [x], expected)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(3, 9), st.integers(3, 9)),
    st.integers(1, 20),
    scales(2.0**-8, 1.0),
    zero_points,
    seeds,
)
def test_pooling(kernel, strides, image, channels, scale, zero_point, seed) -> None:
    x = integers(seed, (1, *image, channels))
    attributes = {"kernel_shape": kernel, "strides": strides}
    expected = nchw(pooling.max_pool_2d(x, kernel, strides=strides))
    x_spec, y_spec = spec(nchw(x).shape, scale, zero_point), spec(expected.shape, scale, zero_point)
    equal(qdq.unary("MaxPool", x_spec, y_spec, **attributes), [nchw(x)], expected)

    # onnxruntime averages in float32, so its rounding of a tie depends on the scale.
    expected = nchw(pooling.average_pool_2d(x, kernel, strides=strides))
    off_by_one(qdq.unary("AveragePool", x_spec, y_spec, **attributes), [nchw(x)], expected)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20)),
    scales(2.0**-8, 1.0),
    ratios(2.0**-3, 2.0),
    two_zero_points,
    seeds,
)
def test_global_average_pool_and_reduce_mean(shape, s_x, ratio, zps, seed) -> None:
    zp_x, zp_y = zps
    x, count = integers(seed, (1, *shape)), shape[0] * shape[1]
    s_y = float(np.float32(s_x * ratio))
    parameters = pooling.reduce_parameters(s_x, zp_x, s_y, zp_y, count, mean=True)
    expected = nchw(pooling.reduce_sum(x, [1, 2], *parameters, keep_dims=True))
    x_spec, y_spec = spec(nchw(x).shape, s_x, zp_x), spec(expected.shape, s_y, zp_y)
    model = qdq.unary("GlobalAveragePool", x_spec, y_spec)
    off_by_one(model, [nchw(x)], expected)
    model = qdq.unary("ReduceMean", x_spec, y_spec, axes=[2, 3], keepdims=1)
    off_by_one(model, [nchw(x)], expected)


@pytest.mark.parametrize(
    "mode", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
)
@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seeds,
)
def test_resize(mode, image, out, seed) -> None:
    """onnxruntime interpolates in float32; the oracle with weights of 11 bits."""
    x = integers(seed, (1, *image, 5))
    sizes = np.array([1, 5, *out], np.int64)
    x_spec, y_spec = spec((1, 5, *image), 0.05, 3), spec((1, 5, *out), 0.05, 3)
    shared: dict[str, Any] = {
        "constants": [None, None, sizes],
        "coordinate_transformation_mode": mode,
    }

    rows = resize.onnx_bilinear_axis(image[0], out[0], mode)
    columns = resize.onnx_bilinear_axis(image[1], out[1], mode)
    expected = nchw(resize.resize_bilinear(x, rows, columns))
    model = qdq.unary("Resize", x_spec, y_spec, mode="linear", **shared)
    off_by_one(model, [nchw(x)], expected)

    if mode == "pytorch_half_pixel":
        return
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        indices = [
            resize.onnx_nearest_axis(n, m, mode, nearest) for n, m in zip(image, out, strict=True)
        ]
        expected = nchw(resize.resize_nearest(x, *indices))
        model = qdq.unary("Resize", x_spec, y_spec, mode="nearest", nearest_mode=nearest, **shared)
        equal(model, [nchw(x)], expected)
