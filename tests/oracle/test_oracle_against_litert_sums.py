"""Convolutions, fully connected, matrix products: the oracle gives LiteRT's bits."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders.spec import Quant
from tests.builders.tflite_run import run
from tests.oracle import convolution
from tests.oracle.litert_checks import check, spec
from tests.oracle.requantize import activation_range, multipliers, requantize
from tests.oracle.strategies import (
    activations,
    biases,
    channel_scales,
    integers,
    output_scale,
    scales,
    seeds,
    weights,
    windows,
    zero_points,
)

spreads = st.sampled_from([1.0, 30.0, 60.0, 1000.0])


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
