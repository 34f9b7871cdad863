"""Products of float TFLite models give LiteRT's numbers; weights that are stored in less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_edit import edited
from tests.builders.tflite_model import ModelBuilder
from tests.builders.tflite_run import run
from tests.convert.litert_agreement import (
    FEW,
    fused,
    images,
    out_size,
    paddings,
    pairs,
    read,
    run_converted,
    small,
)
from tests.convert.litert_float_agreement import F, agree, check, floats, numbers
from tests.oracle.strategies import seeds


@FEW
@given(
    geometry=images(),
    groups=st.sampled_from([1, 1, 2]),
    depth=small,
    outs=small,
    has_bias=st.booleans(),
    activation=fused,
    seed=seeds,
)
def test_conv_2d(geometry, groups, depth, outs, has_bias, activation, seed) -> None:
    image, kernel, strides, dilations, padding = geometry
    channels, out_channels = depth * groups, outs * groups
    model = matmul_models.conv_2d(
        floats(2, *image, channels),
        numbers(seed, (out_channels, *kernel, depth), -1, 1),
        None,
        numbers(seed, (out_channels,)) if has_bias else np.zeros(out_channels, F),
        floats(2, *out_size(image, kernel, strides, dilations, padding), out_channels),
        strides=strides,
        dilations=dilations,
        padding=padding,
        activation=activation,
    )
    check(model, numbers(seed + 1, (2, *image, channels)))


@FEW
@given(geometry=images(), channels=small, multiplier=small, activation=fused, seed=seeds)
def test_depthwise_conv_2d(geometry, channels, multiplier, activation, seed) -> None:
    image, kernel, strides, dilations, padding = geometry
    assume(strides[0] == strides[1])  # LiteRT's depthwise wants it
    outs = channels * multiplier
    model = matmul_models.depthwise_conv_2d(
        floats(1, *image, channels),
        numbers(seed, (1, *kernel, outs), -1, 1),
        None,
        numbers(seed, (outs,)),
        floats(1, *out_size(image, kernel, strides, dilations, padding), outs),
        strides=strides,
        dilations=dilations,
        padding=padding,
        activation=activation,
    )
    check(model, numbers(seed + 1, (1, *image, channels)))


@FEW
@given(
    image=pairs,
    kernel=pairs,
    strides=pairs,
    padding=paddings,
    channels=small,
    outs=small,
    seed=seeds,
)
def test_transpose_conv(image, kernel, strides, padding, channels, outs, seed) -> None:
    sizes = [
        n * s if padding == "SAME" else (n - 1) * s + k
        for n, k, s in zip(image, kernel, strides, strict=True)
    ]
    model = matmul_models.transpose_conv(
        floats(1, *image, channels),
        numbers(seed, (outs, *kernel, channels), -1, 1),
        None,
        numbers(seed, (outs,)),
        floats(1, *sizes, outs),
        strides=strides,
        padding=padding,
    )
    check(model, numbers(seed + 1, (1, *image, channels)))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_fully_connected(keep: bool, activation: str) -> None:
    shape = (2, 3, 4) if keep else (6, 5)
    model = matmul_models.fully_connected(
        floats(2, 3, 7),
        numbers(0, (shape[-1], 7)),
        None,
        numbers(1, (shape[-1],)),
        floats(*shape),
        keep_num_dims=keep,
        activation=activation,
    )
    check(model, numbers(2, (2, 3, 7)))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_fully_connected_by_computed_weights(keep: bool, has_bias: bool) -> None:
    b = ModelBuilder()
    xi, wi = b.tensor(floats(1, 4, 3)), b.tensor(floats(2, 3))
    bias = [b.constant(np.array([1, -2], F))] if has_bias else []
    yi = b.tensor(floats(1, 4, 2) if keep else floats(4, 2))
    options = schema.FullyConnectedOptionsT(keepNumDims=keep, fusedActivationFunction=1)
    b.operator("FULLY_CONNECTED", [xi, wi, *bias], [yi], options)
    check(b.build([xi, wi], [yi]), numbers(0, (1, 4, 3)), numbers(1, (2, 3)))


@FEW
@given(
    batch_a=st.sampled_from([(), (2,), (1, 2), (3, 1)]),
    batch_b=st.sampled_from([(), (2,), (3, 2)]),
    m=small,
    k=small,
    n=small,
    adj=st.tuples(st.booleans(), st.booleans()),
    constant=st.booleans(),
    seed=seeds,
)
def test_batch_matmul(batch_a, batch_b, m, k, n, adj, constant, seed) -> None:
    a = (*batch_a, *((k, m) if adj[0] else (m, k)))
    b = (*batch_b, *((n, k) if adj[1] else (k, n)))
    y = floats(*np.broadcast_shapes(batch_a, batch_b), m, n)
    values = numbers(seed, b)
    model = matmul_models.batch_matmul(
        floats(*a),
        floats(*b),
        y,
        adj_x=adj[0],
        adj_y=adj[1],
        b_values=values if constant else None,
    )
    check(model, numbers(seed + 1, a), *([] if constant else [values]))


# --- weights that are stored in less


def half_weights(w: np.ndarray) -> bytes:
    b = ModelBuilder()
    xi, hi = b.tensor(floats(1, 4)), b.constant(w.astype(np.float16).view(np.int16))
    wi, yi = b.tensor(floats(*w.shape)), b.tensor(floats(1, len(w)))
    b.operator("DEQUANTIZE", [hi], [wi])
    b.operator("FULLY_CONNECTED", [xi, wi], [yi], schema.FullyConnectedOptionsT())

    def change(objects: schema.ModelT) -> None:
        objects.subgraphs[0].tensors[hi].type = schema.TensorType.FLOAT16

    return edited(b.build([xi], [yi]), change)


def test_half_precision_weights_are_widened() -> None:
    w = numbers(0, (3, 4))
    model = half_weights(w)
    check(model, numbers(1, (1, 4)))
    (node,) = read(model).nodes
    np.testing.assert_array_equal(node.input(1).data, w.astype(np.float16).astype(F))


def _hybrid_conv(w: np.ndarray, q: Quant | None) -> bytes:
    bias = np.arange(3, dtype=F)
    return matmul_models.conv_2d(floats(1, 4, 4, 2), w, q, bias, floats(1, 4, 4, 3))


def _hybrid_depthwise(w: np.ndarray, q: Quant | None) -> bytes:
    bias = np.arange(3, dtype=F)
    return matmul_models.depthwise_conv_2d(floats(1, 4, 4, 3), w, q, bias, floats(1, 4, 4, 3))


def _hybrid_dense(w: np.ndarray, q: Quant | None) -> bytes:
    return matmul_models.fully_connected(floats(2, 5), w, q, None, floats(2, 3))


def _hybrid_transpose(w: np.ndarray, q: Quant | None) -> bytes:
    y = floats(1, 4, 4, 3)
    return matmul_models.transpose_conv(floats(1, 4, 4, 2), w, q, None, y)


def _hybrid_product(w: np.ndarray, q: Quant | None) -> bytes:
    spec = Spec(w.shape, w.dtype, q)
    return matmul_models.batch_matmul(floats(2, 5), spec, floats(2, 3), b_values=w)


HYBRIDS: dict[str, tuple[Any, tuple[int, ...], int, tuple[int, ...]]] = {
    "conv": (_hybrid_conv, (3, 2, 3, 2), 0, (1, 4, 4, 2)),
    "depthwise": (_hybrid_depthwise, (1, 3, 3, 3), 3, (1, 4, 4, 3)),
    "dense": (_hybrid_dense, (3, 5), 0, (2, 5)),
    "transposed": (_hybrid_transpose, (3, 2, 2, 2), 0, (1, 4, 4, 2)),
    "product": (_hybrid_product, (5, 3), 1, (2, 5)),
}
"""Builder, shape of the weights, their channel axis, shape of the input."""


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", HYBRIDS)
def test_integer_weights_are_the_real_numbers_that_they_stand_for(
    name: str, per_channel: bool
) -> None:
    """The model computes what LiteRT computes from the same numbers stored as float32."""
    build, shape, axis, x_shape = HYBRIDS[name]
    stored = np.random.default_rng(5).integers(-127, 128, shape).astype(np.int8)
    scale = np.array([0.01, 0.02, 0.005], F) if per_channel else np.array([0.01], F)
    along = [-1 if i == axis else 1 for i in range(len(shape))] if per_channel else ()
    real = (stored.astype(F) * scale.reshape(along)).astype(F)
    x = numbers(6, x_shape)
    (expected,) = run(build(real, None), x)
    (actual,) = run_converted(build(stored, Quant(scale, 0, axis)), x)
    agree(actual, expected, name)
