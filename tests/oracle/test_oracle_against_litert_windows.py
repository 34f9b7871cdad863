"""Pooling, reductions, softmax and resizing: the oracle gives LiteRT's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders import tflite_pool_ops as pool_models
from tests.builders.tflite_run import run
from tests.oracle import convolution, pooling, resize, softmax
from tests.oracle.litert_checks import check, spec
from tests.oracle.requantize import activation_range
from tests.oracle.strategies import (
    activations,
    integers,
    ratios,
    scales,
    seeds,
    windows,
    zero_points,
)


@settings(max_examples=150)
@given(
    scales(2.0**-8, 1.0),
    zero_points,
    st.integers(1, 400),
    seeds,
    st.booleans(),
    st.sampled_from([1.0, 0.3, 2.5]),
)
def test_softmax(s_x, zp_x, channels, seed, flat, beta) -> None:
    x = integers(seed, (3, channels))
    if flat:
        x = np.full_like(x, seed % 256 - 128)
    x_spec, y_spec = spec(x.shape, s_x, zp_x), spec(x.shape, 1 / 256, -128)
    model = elementwise_models.softmax(x_spec, y_spec, beta)
    expected = softmax.softmax(x, softmax.exp_table(s_x, beta))
    check(model, [x], expected, expect_delegated=False)


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
