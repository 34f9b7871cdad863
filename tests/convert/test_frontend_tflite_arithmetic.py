"""The TFLite frontend understands arithmetic as LiteRT does: windows, axes, operands, scales."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders import tflite_pool_ops as pool_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_model import ModelBuilder
from tests.builders.tflite_run import run
from tests.convert.litert_agreement import (
    ALL_INT8,
    FEW,
    check,
    fill,
    fused,
    images,
    int8,
    out_size,
    paddings,
    pairs,
    read,
    small,
    weight_quant,
)
from tests.convert.tally import SHARE
from tests.oracle.graph import run_graph
from tests.oracle.strategies import integers, seeds


@FEW
@given(
    geometry=images(),
    batch=st.integers(1, 2),
    groups=st.sampled_from([1, 1, 2, 3]),
    depth=small,
    outs=small,
    per_channel=st.booleans(),
    activation=fused,
    dtype=st.sampled_from([np.int8, np.int16]),
    seed=seeds,
)
def test_conv_2d(
    geometry, batch, groups, depth, outs, per_channel, activation, dtype, seed
) -> None:
    image, kernel, strides, dilations, padding = geometry
    channels, out_channels = depth * groups, outs * groups
    zero_point = 3 if dtype is np.int8 else 0
    x = Spec((batch, *image, channels), dtype, Quant(0.05, zero_point))
    y_scale = 0.2 if dtype is np.int8 else 0.001
    y = Spec(
        (batch, *out_size(image, kernel, strides, dilations, padding), out_channels),
        dtype,
        Quant(y_scale, -zero_point),
    )
    w = integers(seed, (out_channels, *kernel, depth))
    bias_dtype = np.int32 if dtype is np.int8 else np.int64
    bias = np.arange(out_channels).astype(bias_dtype) * 300 - 500
    model = matmul_models.conv_2d(
        x,
        w,
        weight_quant(out_channels, 0, per_channel),
        bias,
        y,
        strides=strides,
        dilations=dilations,
        padding=padding,
        activation=activation,
    )
    share = 0.0 if dtype is np.int8 else SHARE  # of int16, LiteRT's multipliers have 16 bits
    graph = check(model, fill(x, seed), steps=1, share=share)
    assert graph.nodes[0].attrs["groups"] == groups


@FEW
@given(
    geometry=images(),
    channels=small,
    multiplier=small,
    per_channel=st.booleans(),
    activation=fused,
    seed=seeds,
)
def test_depthwise_conv_2d(geometry, channels, multiplier, per_channel, activation, seed) -> None:
    image, kernel, strides, dilations, padding = geometry
    assume(strides[0] == strides[1])  # LiteRT's depthwise wants it
    outs = channels * multiplier
    x = int8((1, *image, channels))
    y = int8((1, *out_size(image, kernel, strides, dilations, padding), outs), 0.1, -7)
    model = matmul_models.depthwise_conv_2d(
        x,
        integers(seed, (1, *kernel, outs)),
        weight_quant(outs, 3, per_channel),
        np.arange(outs, dtype=np.int32) * 300 - 500,
        y,
        strides=strides,
        dilations=dilations,
        padding=padding,
        activation=activation,
    )
    check(model, fill(x, seed), steps=1)


@FEW
@given(
    image=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=pairs,
    extra=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    padding=paddings,
    channels=small,
    outs=small,
    has_bias=st.booleans(),
    seed=seeds,
)
def test_transpose_conv(
    image, kernel, strides, extra, padding, channels, outs, has_bias, seed
) -> None:
    # Several output sizes lead to one input size; `extra` picks one.
    out = []
    for n, k, s, e in zip(image, kernel, strides, extra, strict=True):
        out.append((n - 1) * s + 1 + e % s if padding == "SAME" else (n - 1) * s + k + e % s)
    x, y = int8((1, *image, channels)), int8((1, *out, outs), 0.15, 11)
    model = matmul_models.transpose_conv(
        x,
        integers(seed, (outs, *kernel, channels)),
        weight_quant(outs, 0, True),
        np.arange(outs, dtype=np.int32) * 300 - 500 if has_bias else None,
        y,
        strides=strides,
        padding=padding,
    )
    check(model, fill(x, seed), steps=1)


# --- matrix products


@FEW
@given(
    shape=st.lists(small, min_size=1, max_size=3),
    n=st.integers(1, 5),
    keep=st.booleans(),
    per_channel=st.booleans(),
    has_bias=st.booleans(),
    activation=fused,
    seed=seeds,
)
def test_fully_connected(shape, n, keep, per_channel, has_bias, activation, seed) -> None:
    x = int8(shape)
    rows = shape[:-1] if keep else [int(np.prod(shape[:-1]))]
    model = matmul_models.fully_connected(
        x,
        integers(seed, (n, shape[-1])),
        weight_quant(n, 0, per_channel),
        np.arange(n, dtype=np.int32) * 300 - 500 if has_bias else None,
        int8((*rows, n), 0.1, -7),
        keep_num_dims=keep,
        activation=activation,
    )
    check(model, fill(x, seed), steps=1)


@pytest.mark.parametrize("keep", [False, True])
def test_fully_connected_of_two_activations(keep: bool) -> None:
    b = ModelBuilder()
    x, w = int8((2, 3, 4)), Spec((5, 4), np.int8, Quant(0.01, 0))
    xi, wi = b.tensor(x), b.tensor(w)
    yi = b.tensor(int8((2, 3, 5) if keep else (6, 5), 0.02, -7))
    b.operator(
        "FULLY_CONNECTED", [xi, wi, -1], [yi], schema.FullyConnectedOptionsT(keepNumDims=keep)
    )
    check(b.build([xi, wi], [yi]), fill(x, 1), fill(w, 2), steps=1)


@FEW
@given(
    batch_a=st.lists(st.sampled_from([1, 2]), max_size=2),
    batch_b=st.lists(st.sampled_from([1, 2]), max_size=2),
    m=small,
    k=small,
    n=small,
    adj=st.tuples(st.booleans(), st.booleans()),
    seed=seeds,
)
def test_batch_matmul(batch_a, batch_b, m, k, n, adj, seed) -> None:
    a = int8((*batch_a, *((k, m) if adj[0] else (m, k))))
    b = int8((*batch_b, *((n, k) if adj[1] else (k, n))), 0.02, -5)
    y = int8((*np.broadcast_shapes(tuple(batch_a), tuple(batch_b)), m, n), 0.1, -7)
    model = matmul_models.batch_matmul(a, b, y, adj_x=adj[0], adj_y=adj[1])
    share = 0.0003  # of two activations, where LiteRT runs its builtin kernel
    check(model, fill(a, seed), fill(b, seed), steps=1, share=share)


# --- elementwise


@FEW
@given(
    shape=st.lists(small, min_size=1, max_size=4),
    drop=st.integers(0, 3),
    ones=st.integers(0, 15),
    code=st.sampled_from(["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"]),
    activation=fused,
    constant=st.booleans(),
    swap=st.booleans(),
    seed=seeds,
)
def test_binary_broadcasts(shape, drop, ones, code, activation, constant, swap, seed) -> None:
    other = [1 if ones >> i & 1 else n for i, n in enumerate(shape)][min(drop, len(shape) - 1) :]
    same = code in ("MAXIMUM", "MINIMUM")  # LiteRT compares stored values, so all scales are one
    a = int8(shape)
    b = int8(other) if same else int8(other, 0.03, -9)
    y = int8(shape) if same else int8(shape, 0.11, 20)
    if swap and not constant:
        a, b = b, a
    values = fill(b, seed + 1)
    model = elementwise_models.binary(
        code,
        a,
        b,
        y,
        activation="NONE" if same else activation,
        b_values=values if constant else None,
    )
    check(model, fill(a, seed), *([] if constant else [values]), steps=0 if same else 1)


@pytest.mark.parametrize(
    ("code", "out"),
    [
        ("ABS", (0.05, -128)),
        ("ELU", (0.05, -100)),
        ("HARD_SWISH", (0.05, -100)),
        ("LOGISTIC", (1 / 256, -128)),
        ("RELU", (0.05, -128)),
        ("RELU6", (6 / 255, -128)),
        ("RELU_N1_TO_1", (2 / 255, 0)),
        ("RELU_0_TO_1", (1 / 255, -128)),
        ("TANH", (1 / 128, 0)),
    ],
)
def test_unary(code: str, out: tuple[float, int]) -> None:
    model = elementwise_models.unary(code, int8((1, 256)), int8((1, 256), *out))
    check(model, ALL_INT8, steps=1)


def test_unary_with_options() -> None:
    x, y = int8((1, 256)), int8((1, 256), 0.05, -100)
    check(elementwise_models.leaky_relu(x, y, 0.125), ALL_INT8, steps=1)
    check(elementwise_models.gelu(x, y), ALL_INT8, steps=1)
    check(elementwise_models.gelu(x, y, approximate=True), ALL_INT8, steps=1)


def test_prelu() -> None:
    x, y = int8((1, 8, 8, 4)), int8((1, 8, 8, 4), 0.07, -20)
    slope = np.array([-100, 0, 50, 127], np.int8).reshape(1, 1, 4)
    model = elementwise_models.prelu(x, Spec((1, 1, 4), np.int8, Quant(0.01, 0)), slope, y)
    check(model, ALL_INT8.reshape(x.shape), steps=1)


@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_softmax(beta: float) -> None:
    x, y = int8((2, 3, 40)), int8((2, 3, 40), 1 / 256, -128)
    check(elementwise_models.softmax(x, y, beta), fill(x, 2), steps=1)


# --- pools, reductions, resizing


@FEW
@given(
    geometry=images(),
    code=st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]),
    activation=fused,
    seed=seeds,
)
def test_pool(geometry, code, activation, seed) -> None:
    image, kernel, strides, _, padding = geometry
    x = int8((2, *image, 3))
    y = int8((2, *out_size(image, kernel, strides, (1, 1), padding), 3))
    model = pool_models.pool_2d(
        code, x, y, kernel, strides=strides, padding=padding, activation=activation
    )
    check(model, fill(x, seed), steps=1 if code == "AVERAGE_POOL_2D" else 0)


@FEW
@given(
    shape=st.lists(small, min_size=1, max_size=4),
    code=st.sampled_from(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"]),
    keep=st.booleans(),
    data=st.data(),
    seed=seeds,
)
def test_reduction(shape, code, keep, data, seed) -> None:
    rank = len(shape)
    axes = data.draw(st.lists(st.integers(-rank, rank - 1), min_size=1, max_size=rank))
    gone = {axis % rank for axis in axes}
    out = [1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone]
    same = code.startswith("REDUCE")
    x, y = int8(shape), int8(out) if same else int8(out, 0.11, -30)
    model = pool_models.reduce(code, x, y, axes, keep)
    # The runtime's extremes are over neighbouring axes.
    neighbours = max(gone) - min(gone) < len(gone)
    check(
        model,
        fill(x, seed),
        steps=0 if same else 1,
        on_device=neighbours or not same,
    )


@FEW
@given(
    shape=st.lists(small, min_size=1, max_size=4),
    code=st.sampled_from(["ARG_MAX", "ARG_MIN"]),
    dtype=st.sampled_from([np.int32, np.int64]),
    data=st.data(),
    seed=seeds,
)
def test_arg_extreme(shape, code, dtype, data, seed) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = int8(shape)
    out = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    kind = {"ARG_MAX": schema.ArgMaxOptionsT, "ARG_MIN": schema.ArgMinOptionsT}[code]
    types = {np.int32: schema.TensorType.INT32, np.int64: schema.TensorType.INT64}
    b = ModelBuilder()
    xi, ai = b.tensor(x), b.constant(np.asarray(axis, np.int32))
    yi = b.tensor(Spec(tuple(out), dtype))
    b.operator(code, [xi, ai], [yi], kind(outputType=types[dtype]))
    check(b.build([xi], [yi]), fill(x, seed))


@FEW
@given(
    method=st.sampled_from(["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"]),
    image=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    out=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    mode=st.sampled_from([(False, False), (True, False), (False, True)]),
    seed=seeds,
)
def test_resize(method, image, out, mode, seed) -> None:
    x, y = int8((1, *image, 2)), int8((1, *out, 2))
    model = pool_models.resize(method, x, y, align_corners=mode[0], half_pixel_centers=mode[1])
    check(model, fill(x, seed), steps=1 if method == "RESIZE_BILINEAR" else 0)


# --- conversions


@pytest.mark.parametrize(("dtype", "zero_point"), [(np.int8, -3), (np.uint8, 120), (np.int16, 0)])
def test_quantize_and_dequantize(dtype: type, zero_point: int) -> None:
    floats, ints = Spec((1, 200), np.float32), Spec((1, 200), dtype, Quant(0.05, zero_point))
    x = np.linspace(-9, 9, 200, dtype=np.float32).reshape(1, 200)
    check(elementwise_models.quantize(floats, ints), x, steps=1)
    graph = read(elementwise_models.dequantize(ints, floats))
    stored = fill(ints, 1)
    (theirs,) = run(elementwise_models.dequantize(ints, floats), stored)
    np.testing.assert_allclose(run_graph(graph, stored)[0], theirs, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_requantize(dtype: type) -> None:
    x = Spec((1, 256), dtype, Quant(0.05, 3))
    y = Spec((1, 256), np.int8, Quant(0.09, -10))
    check(elementwise_models.quantize(x, y), ALL_INT8.view(dtype), steps=1)
