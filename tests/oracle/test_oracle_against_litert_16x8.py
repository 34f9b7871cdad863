"""The 16x8 scheme (int16 activations, int8 weights, int64 bias): how far from LiteRT.

XNNPACK takes no int16, so TFLite's builtin kernels run it, by fixed-point multipliers of 16 or
32 bits. The oracle multiplies once in float32. Every test states the largest difference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders import tflite_pool_ops as pool_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_run import delegated, run
from tests.oracle import convolution, elementwise, pooling, resize
from tests.oracle.requantize import multipliers, requantize
from tests.oracle.strategies import biases, channel_scales, integers, ratios, scales, seeds, weights

INT16 = (-32768, 32767)
input_scales = scales(2.0**-14, 2.0**-10)


def spec(shape, scale, dtype=np.int16) -> Spec:
    return Spec(tuple(shape), dtype, Quant(scale))


def check(model: bytes, inputs, expected: np.ndarray, *, largest: int) -> None:
    assert not delegated(model)
    difference = run(model, *inputs)[0].astype(np.int64) - expected
    assert np.abs(difference).max() <= largest


def finish(sums: np.ndarray, s_x: float, s_w, spread: float = 8000.0):
    """An output scale for these sums, and the sums requantised to it."""
    deviation = float(np.std(sums.astype(np.float64) * s_x * s_w))
    s_y = float(np.float32((deviation or s_x) / spread))
    return s_y, requantize(sums, multipliers(s_x, s_w, s_y), 0, INT16, "int16")


def check_weighted(make: Callable[..., bytes], x, s_x, filters, s_w, bias, sums, axis=0) -> None:
    s_y, expected = finish(sums, s_x, s_w)
    quant = Quant(s_w, 0, axis)
    model = make(spec(x.shape, s_x), filters, quant, bias, spec(sums.shape, s_y))
    check(model, [x], expected, largest=1)


@st.composite
def images(draw: st.DrawFn):
    """Input scale, image, kernel, filters, their scales and the bias of a convolution."""
    seed, kernel = draw(seeds), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    channels, out = draw(st.integers(1, 20)), draw(st.integers(1, 9))
    x = integers(seed, (1, 5, 6, channels), "int16")
    filters = weights(seed, (out, *kernel, channels))
    bias = biases(seed, out).astype(np.int64)
    return draw(input_scales), x, kernel, filters, channel_scales(seed, out), bias


@settings(max_examples=100)
@given(images())
def test_conv_2d(case) -> None:
    s_x, x, kernel, filters, s_w, bias = case
    _, padding = convolution.resolve_padding("SAME", (5, 6), kernel, (1, 1), (1, 1))
    sums = convolution.conv_2d_sums(x, 0, filters, bias, padding=padding)
    check_weighted(matmul_models.conv_2d, x, s_x, filters, s_w, bias, sums)


@settings(max_examples=100)
@given(images())
def test_depthwise_conv_2d(case) -> None:
    s_x, x, kernel, filters, s_w, bias = case
    x = x[..., :1].repeat(len(bias), 3)
    filters = np.ascontiguousarray(filters[:, :, :, :1].transpose(3, 1, 2, 0))
    _, padding = convolution.resolve_padding("SAME", (5, 6), kernel, (1, 1), (1, 1))
    sums = convolution.depthwise_conv_2d_sums(x, 0, filters, bias, padding=padding)
    check_weighted(matmul_models.depthwise_conv_2d, x, s_x, filters, s_w, bias, sums, axis=3)


@settings(max_examples=100)
@given(images())
def test_transpose_conv(case) -> None:
    s_x, x, kernel, filters, s_w, bias = case
    origin = convolution.transpose_conv_origin("SAME", (5, 6), (5, 6), kernel, (1, 1))
    sums = convolution.transpose_conv_sums(x, 0, filters, bias, (5, 6), origin=origin)
    check_weighted(matmul_models.transpose_conv, x, s_x, filters, s_w, bias, sums)


@settings(max_examples=100)
@given(input_scales, seeds, st.integers(1, 300), st.integers(1, 20))
def test_fully_connected(s_x, seed, depth, units) -> None:
    x, filters = integers(seed, (4, depth), "int16"), weights(seed, (units, depth))
    s_w, bias = channel_scales(seed, units), biases(seed, units).astype(np.int64)
    sums = convolution.fully_connected_sums(x, 0, filters, bias)
    check_weighted(matmul_models.fully_connected, x, s_x, filters, s_w, bias, sums)


@settings(max_examples=100)
@given(input_scales, seeds, st.integers(1, 200), st.integers(1, 20))
def test_batch_matmul(s_x, seed, depth, units) -> None:
    a, b = integers(seed, (2, 3, depth), "int16"), integers(seed + 1, (2, depth, units), "int16")
    sums = convolution.matmul_sums(a, 0, b, 0)
    s_y, expected = finish(sums, s_x, np.float32(s_x))
    model = matmul_models.batch_matmul(
        spec(a.shape, s_x), spec(b.shape, s_x), spec(sums.shape, s_y)
    )
    check(model, [a, b], expected, largest=1)


@settings(max_examples=100)
@given(input_scales, ratios(0.25, 4.0), ratios(0.7, 2.0), seeds)
def test_binary_operators(s_a, ratio_b, ratio_y, seed) -> None:
    a, b = integers(seed, (1, 4000), "int16"), integers(seed + 1, (1, 4000), "int16")
    s_b = float(np.float32(s_a * ratio_b))
    s_y = float(np.float32(max(s_a, s_b) * ratio_y))
    # TFLite has an older ADD for three powers of two (within 1e-3), which rejects most of them.
    exponents = np.log2([s_a, s_b, s_y])
    assume(np.abs(exponents - np.rint(exponents)).max() > 2e-3)
    a_spec, b_spec = spec(a.shape, s_a), spec(a.shape, s_b)
    for code in ("ADD", "SUB"):
        parameters = elementwise.add_parameters(s_a, 0, s_b, 0, s_y, subtract=code == "SUB")
        expected = elementwise.add(a, b, parameters, 0, INT16, "int16")
        model = elementwise_models.binary(code, a_spec, b_spec, spec(a.shape, s_y))
        check(model, [a, b], expected, largest=1)
    s_y = float(np.float32(s_a * s_b * 2**13))
    m = elementwise.multiplier_of_mul(s_a, s_b, s_y)
    expected = elementwise.mul(a, 0, b, 0, m, 0, INT16, "int16")
    model = elementwise_models.binary("MUL", a_spec, b_spec, spec(a.shape, s_y))
    check(model, [a, b], expected, largest=1)


@settings(max_examples=60)
@given(input_scales, seeds, st.integers(1, 4), st.integers(1, 12), ratios(0.25, 2.0))
def test_pooling_and_reductions(s_x, seed, kernel, channels, ratio) -> None:
    x = integers(seed, (1, 7, 6, channels), "int16")
    window = (kernel, kernel)
    _, padding = convolution.resolve_padding("SAME", (7, 6), window, (1, 1), (1, 1))
    for code, pool in (
        ("AVERAGE_POOL_2D", pooling.average_pool_2d),
        ("MAX_POOL_2D", pooling.max_pool_2d),
    ):
        expected = pool(x, window, padding=padding, clamp=INT16)
        q = spec(x.shape, s_x)
        check(pool_models.pool_2d(code, q, q, window, padding="SAME"), [x], expected, largest=0)
    for code in ("MEAN", "SUM"):
        s_y = float(np.float32(s_x * ratio * (1 if code == "MEAN" else 42)))
        m, _ = pooling.reduce_parameters(s_x, 0, s_y, 0, 42, mean=code == "MEAN")
        sums = x.astype(np.int64).sum((1, 2))
        expected = requantize(sums, m, 0, INT16, "int16")
        model = pool_models.reduce(code, spec(x.shape, s_x), spec(sums.shape, s_y), [1, 2])
        check(model, [x], expected, largest=1)


@settings(max_examples=60)
@given(input_scales, ratios(0.25, 4.0), seeds)
def test_quantize_dequantize_and_requantize(s_x, ratio, seed) -> None:
    x = integers(seed, (1, 3000), "int16")
    s_y = float(np.float32(s_x * ratio))
    real = (np.random.default_rng(seed).uniform(-40000, 40000, x.shape) * s_x).astype(np.float32)
    model = elementwise_models.quantize(Spec(x.shape, np.float32), spec(x.shape, s_x))
    check(model, [real], elementwise.quantize(real, s_x, 0, "int16"), largest=0)

    model = elementwise_models.dequantize(spec(x.shape, s_x), Spec(x.shape, np.float32))
    np.testing.assert_array_equal(run(model, x)[0], elementwise.dequantize(x, s_x, 0))

    m = multipliers(s_x, 1.0, s_y)
    model = elementwise_models.quantize(spec(x.shape, s_x), spec(x.shape, s_y))
    check(model, [x], requantize(x, m, 0, INT16, "int16"), largest=1)

    m = multipliers(s_x, 1.0, s_x * 256)
    model = elementwise_models.quantize(spec(x.shape, s_x), spec(x.shape, s_x * 256, np.int8))
    check(model, [x], requantize(x, m, 0), largest=1)


@pytest.mark.parametrize(
    ("align_corners", "half_pixel_centers"), [(False, False), (True, False), (False, True)]
)
@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 45), st.integers(1, 45)),
    seeds,
)
def test_resize_is_bit_equal(align_corners, half_pixel_centers, image, out, seed) -> None:
    mode = {"align_corners": align_corners, "half_pixel_centers": half_pixel_centers}
    x = integers(seed, (1, *image, 5), "int16")
    x_spec, y_spec = spec(x.shape, 0.05), spec((1, *out, 5), 0.05)

    rows = resize.bilinear_axis_builtin(image[0], out[0], **mode)
    columns = resize.bilinear_axis_builtin(image[1], out[1], **mode)
    expected = resize.resize_bilinear(x, rows, columns, bits=resize.BUILTIN_BITS)
    model = pool_models.resize("RESIZE_BILINEAR", x_spec, y_spec, **mode)
    check(model, [x], expected, largest=0)

    indices = [resize.nearest_axis(n, m, **mode) for n, m in zip(image, out, strict=True)]
    model = pool_models.resize("RESIZE_NEAREST_NEIGHBOR", x_spec, y_spec, **mode)
    check(model, [x], resize.resize_nearest(x, *indices), largest=0)
