"""Convolutions, pools and resizing in the ONNX frontend, held against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeinfer.convert.frontends import onnx as frontend
from tests.builders import onnx_qdq_ops as qdq
from tests.builders import onnx_qlinear_ops as qlinear
from tests.convert.onnxruntime_agreement import (
    FEW,
    activations,
    auto_pads,
    check,
    fill,
    small,
    stored,
    weight_quant,
)
from tests.oracle.strategies import biases, seeds, weights


@st.composite
def windows(draw: st.DrawFn, most_dilated: int = 2):
    """An image and the attributes of a window that fits into it, in one or two dimensions."""
    rank = draw(st.sampled_from([2, 2, 2, 1]))
    kernel = [draw(small) for _ in range(rank)]
    auto = draw(auto_pads)
    # onnxruntime refuses SAME with dilations, and where pixels are skipped.
    is_same = auto.startswith("SAME")
    strides = [draw(st.integers(1, k if is_same else 3)) for k in kernel]
    most_dilated = 1 if is_same else most_dilated
    dilations = [draw(st.integers(1, most_dilated)) for _ in range(rank)]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    image = [draw(st.integers(span, span + 6)) for span in spans]
    attrs: dict = {"kernel_shape": kernel, "strides": strides}
    if max(dilations) > 1:
        attrs["dilations"] = dilations
    if auto == "NOTSET":
        attrs["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    else:
        attrs["auto_pad"] = auto
    return image, attrs


@FEW
@given(
    geometry=windows(),
    batch=st.integers(1, 2),
    groups=st.sampled_from([1, 1, 2, 3]),
    depth=small,
    outs=small,
    per_channel=st.booleans(),
    has_bias=st.booleans(),
    activation=st.sampled_from([None, "Relu"]),
    dtype=activations,
    seed=seeds,
)
def test_conv(
    geometry, batch, groups, depth, outs, per_channel, has_bias, activation, dtype, seed
) -> None:
    image, attrs = geometry
    x = stored((batch, depth * groups, *image), dtype)
    w_shape = (outs * groups, depth, *attrs["kernel_shape"])
    model = qdq.weighted(
        "Conv",
        x,
        weights(seed, w_shape),
        weight_quant(outs * groups, 0, per_channel),
        biases(seed, outs * groups) if has_bias else None,
        stored([None] * len(x.shape), dtype, 0.2),
        activation=activation,
        group=groups,
        **attrs,
    )
    graph = check(model, fill(x, seed), steps=1)
    is_depthwise = groups > 1 and depth == 1
    ops = [node.op for node in graph.nodes]
    assert ("depthwise_conv2d" if is_depthwise else "conv2d") in ops


@FEW
@given(geometry=windows(), groups=st.sampled_from([1, 2]), per_channel=st.booleans(), seed=seeds)
def test_qlinear_conv(geometry, groups, per_channel, seed) -> None:
    image, attrs = geometry
    x = stored((1, 2 * groups, *image), np.uint8, 0.05, 100)
    model = qlinear.conv(
        x,
        # onnxruntime sums pairs of products in int16 where there is no VNNI
        weights(seed, (2 * groups, 2, *attrs["kernel_shape"])) // 2,
        weight_quant(2 * groups, 0, per_channel),
        biases(seed, 2 * groups),
        stored([None] * len(x.shape), np.uint8, 0.2, 120),
        group=groups,
        **attrs,
    )
    graph = check(model, fill(x, seed), steps=1)
    assert {node.source for node in graph.nodes} == {"QLinearConv"}


@st.composite
def transposed_windows(draw: st.DrawFn):
    """As `windows`, for ConvTranspose."""
    rank = draw(st.sampled_from([2, 2, 1]))
    kernel = [draw(small) for _ in range(rank)]
    strides = [draw(small) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    image = [draw(st.integers(1, 5)) for _ in range(rank)]
    attrs: dict = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    how = draw(st.sampled_from(["pads", "pads", "auto", "shape"]))
    extra = [0] * rank
    if how == "pads":
        extra = [draw(st.integers(0, s - 1)) for s in strides]
        attrs["output_padding"] = extra
    full = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(image, strides, kernel, dilations, extra, strict=True)
    ]
    if how == "pads":
        begins = [draw(st.integers(0, min(2, n - 1))) for n in full]
        ends = [draw(st.integers(0, min(2, n - 1 - b))) for n, b in zip(full, begins, strict=True)]
        attrs["pads"] = [*begins, *ends]
    else:
        assume(all(k >= s for k, s in zip(kernel, strides, strict=True)))
        attrs["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
    if how == "shape":
        attrs["output_shape"] = [
            draw(st.integers(max(i, n - 3), n)) for i, n in zip(image, full, strict=True)
        ]
    return image, attrs


@FEW
@given(
    geometry=transposed_windows(),
    groups=st.sampled_from([1, 1, 2]),
    depth=small,
    outs=small,
    per_channel=st.booleans(),
    seed=seeds,
)
def test_conv_transpose(geometry, groups, depth, outs, per_channel, seed) -> None:
    image, attrs = geometry
    x = stored((1, depth * groups, *image))
    quant = weight_quant(outs, 1, per_channel and outs > 1)
    bias = biases(seed, outs * groups) if len(quant.scales) == 1 else None
    model = qdq.weighted(
        "ConvTranspose",
        x,
        weights(seed, (depth * groups, outs, *attrs["kernel_shape"])),
        quant,
        bias,
        stored([None] * len(x.shape), np.int8, 0.2),
        group=groups,
        **attrs,
    )
    check(model, fill(x, seed), steps=1, in_oracle=groups == 1)


@FEW
@given(
    geometry=windows(1),
    ceil_mode=st.booleans(),
    include_pad=st.booleans(),
    dtype=activations,
    seed=seeds,
)
def test_average_pool(geometry, ceil_mode, include_pad, dtype, seed) -> None:
    image, attrs = geometry
    if "auto_pad" not in attrs:
        attrs["ceil_mode"] = int(ceil_mode)
    x = stored((1, 3, *image), dtype)
    model = qdq.unary(
        "AveragePool",
        x,
        stored([None] * len(x.shape), dtype, 0.07),
        count_include_pad=int(include_pad),
        **attrs,
    )
    check(model, fill(x, seed), steps=1)


@FEW
@given(geometry=windows(), ceil_mode=st.booleans(), dtype=activations, seed=seeds)
def test_max_pool(geometry, ceil_mode, dtype, seed) -> None:
    image, attrs = geometry
    if "auto_pad" not in attrs:
        attrs["ceil_mode"] = int(ceil_mode)
    x = stored((2, 3, *image), dtype)
    model = qdq.unary("MaxPool", x, stored([None] * len(x.shape), dtype), **attrs)
    problems = frontend.read(model, "model").problems
    if problems:
        assert "outside of the image" in problems[0].reason
        return
    check(model, fill(x, seed))


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("image", [(4, 5), (7,)])
def test_global_pools(operator: str, image: tuple[int, ...]) -> None:
    x = stored((2, 3, *image))
    y = stored((2, 3, *(1 for _ in image)), np.int8, 0.05, 3)
    check(qdq.unary(operator, x, y), fill(x, 5), steps=operator == "GlobalAveragePool")


COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


@FEW
@given(
    image=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    coordinates=st.sampled_from(COORDINATES),
    rounding=st.sampled_from(ROUNDINGS),
    by_size=st.booleans(),
    seed=seeds,
)
def test_resize_nearest(image, size, coordinates, rounding, by_size, seed) -> None:
    x = stored((1, 2, *image))
    constants = _resizing(image, size, by_size)
    model = qdq.unary(
        "Resize",
        x,
        stored((1, 2, *size)),
        constants=constants,
        mode="nearest",
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
    )
    check(model, fill(x, seed))


@FEW
@given(
    image=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    coordinates=st.sampled_from(COORDINATES),
    by_size=st.booleans(),
    seed=seeds,
)
def test_resize_linear(image, size, coordinates, by_size, seed) -> None:
    x = stored((1, 2, *image))
    model = qdq.unary(
        "Resize",
        x,
        stored((1, 2, *size)),
        constants=_resizing(image, size, by_size),
        mode="linear",
        coordinate_transformation_mode=coordinates,
    )
    check(model, fill(x, seed), steps=1)


def _resizing(image, size, by_size: bool) -> tuple:
    """roi, scales and sizes for an output of `size`."""
    if by_size:
        return None, None, np.array([1, 2, *size], np.int64)
    # Half a pixel more than needed, so that the shapes alone do not say the scale.
    scales = [(o + 0.5) / i for i, o in zip(image, size, strict=True)]
    assume(all(int(np.float32(s) * i) == o for s, i, o in zip(scales, image, size, strict=True)))
    return None, np.array([1, 1, *scales], np.float32)


def test_resize_of_one_dimension() -> None:
    x = stored((1, 2, 5))
    scales = np.array([1, 1, 2], np.float32)
    model = qdq.unary(
        "Resize",
        x,
        stored((1, 2, 10)),
        constants=(None, scales),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    check(model, fill(x))


def test_resize_that_keeps_the_ratio() -> None:
    x = stored((1, 2, 4, 6))
    model = qdq.unary(
        "Resize",
        x,
        stored((1, 2, 6, 9)),
        constants=(None, None, np.array([7, 9], np.int64)),
        opset=18,
        axes=[2, 3],
        keep_aspect_ratio_policy="not_larger",
    )
    check(model, fill(x))


@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(block: int, mode: str) -> None:
    x = stored((2, 2 * block * block, 2, 3))
    y = stored((2, 2, 2 * block, 3 * block))
    check(qdq.unary("DepthToSpace", x, y, blocksize=block, mode=mode), fill(x))


def test_space_to_depth() -> None:
    x = stored((2, 3, 4, 6))
    check(qdq.unary("SpaceToDepth", x, stored((2, 12, 2, 3)), blocksize=2), fill(x))
