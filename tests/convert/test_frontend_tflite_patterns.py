"""Groups of operators that the TFLite frontend reads as one, and whole models, against LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_model import ModelBuilder
from tests.builders.tflite_run import run
from tests.convert.litert_agreement import (
    ALL_INT8,
    FEW,
    blocks,
    check,
    fill,
    int8,
    out_size,
    paddings,
    pairs,
    read,
)
from tests.oracle.graph import run_graph
from tests.oracle.strategies import integers, seeds


def blocked_convolution(
    image, block, amounts, crops, kernel, padding, *, depthwise: bool, seed: int
) -> tuple[bytes, Spec]:
    b = ModelBuilder()
    x = int8((1, *image, 2))
    counts = [(m + sum(p)) // k for m, k, p in zip(image, block, amounts, strict=True)]
    phases = block[0] * block[1]
    size = out_size(counts, kernel, (1, 1), (1, 1), padding)
    cut = [n * k - sum(c) for n, k, c in zip(size, block, crops, strict=True)]
    assert min(size) > 0 and min(cut) > 0
    xi, bi = b.tensor(x), b.constant(np.asarray(block, np.int32))
    pi, ci = b.constant(np.asarray(amounts, np.int32)), b.constant(np.asarray(crops, np.int32))
    si = b.tensor(int8((phases, *counts, 2)))
    b.operator("SPACE_TO_BATCH_ND", [xi, bi, pi], [si])
    mode = matmul_models.PADDING[padding]
    if depthwise:
        wi = b.constant(integers(seed, (1, *kernel, 2)), Quant(0.01))
        code, options = "DEPTHWISE_CONV_2D", schema.DepthwiseConv2DOptionsT(depthMultiplier=1)
    else:
        wi = b.constant(integers(seed, (2, *kernel, 2)), Quant(0.01))
        code, options = "CONV_2D", schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = mode, 1, 1
    options.dilationHFactor = options.dilationWFactor = 1
    ki = b.constant(np.array([500, -300], np.int32), Quant(0.05 * 0.01))
    mi = b.tensor(int8((phases, *size, 2), 0.1, -7))
    b.operator(code, [si, wi, ki], [mi], options)
    yi = b.tensor(int8((1, *cut, 2), 0.1, -7))
    b.operator("BATCH_TO_SPACE_ND", [mi, bi, ci], [yi])
    return b.build([xi], [yi]), x


@FEW
@given(case=blocks(), kernel=pairs, padding=paddings, depthwise=st.booleans(), seed=seeds)
def test_convolution_of_blocks_is_a_dilated_convolution(
    case, kernel, padding, depthwise, seed
) -> None:
    image, block, amounts = case
    crops = [(0, p[1]) for p in amounts]
    # What the dilated kernel leaves of the padded image, less the crops.
    rest = [
        n + p[0] - (k - 1) * b * (padding == "VALID")
        for n, p, k, b in zip(image, amounts, kernel, block, strict=True)
    ]
    assume(min(rest) > 0)
    model, x = blocked_convolution(
        image, block, amounts, crops, kernel, padding, depthwise=depthwise, seed=seed
    )
    graph = check(model, fill(x, seed), steps=1)
    (node,) = graph.nodes
    assert node.op == ("depthwise_conv2d" if depthwise else "conv2d")
    assert node.attrs["dilations"] == block


def test_convolution_of_blocks_that_crops_more_than_it_pads_stays_as_it_is() -> None:
    model, x = blocked_convolution(
        (6, 6), (2, 2), [(0, 0)] * 2, [(1, 1)] * 2, (1, 1), "VALID", depthwise=False, seed=2
    )
    graph = check(model, fill(x, 1), steps=1)
    assert len(graph.nodes) > 1


def test_shape_arithmetic_is_evaluated() -> None:
    """What Keras leaves for a Flatten of an open batch: SHAPE, STRIDED_SLICE, PACK, RESHAPE."""
    b = ModelBuilder()
    x = int8((2, 3, 4))
    xi, si = b.tensor(x), b.tensor(Spec((3,), np.int32))
    b.operator("SHAPE", [xi], [si], schema.ShapeOptionsT(outType=schema.TensorType.INT32))
    ends = [b.constant(np.asarray([v], np.int32)) for v in (0, 1, 1)]
    ni = b.tensor(Spec((), np.int32))
    b.operator("STRIDED_SLICE", [si, *ends], [ni], schema.StridedSliceOptionsT(shrinkAxisMask=1))
    twelve, pi = b.constant(np.asarray(12, np.int32)), b.tensor(Spec((2,), np.int32))
    b.operator("PACK", [ni, twelve], [pi], schema.PackOptionsT(valuesCount=2, axis=0))
    yi = b.tensor(int8((2, 12)))
    b.operator("RESHAPE", [xi, pi], [yi], schema.ReshapeOptionsT())
    graph = check(b.build([xi], [yi]), fill(x))
    assert [node.op for node in graph.nodes] == ["reshape"]


def test_uint8_around_an_int8_operator() -> None:
    b = ModelBuilder()
    image, out = (
        Spec((1, 256), np.uint8, Quant(0.05, 131)),
        Spec((1, 256), np.uint8, Quant(0.02, 0)),
    )
    xi, ai = b.tensor(image), b.tensor(int8((1, 256), 0.05, 3))
    b.operator("QUANTIZE", [xi], [ai], schema.QuantizeOptionsT())
    bi = b.tensor(int8((1, 256), 0.02, -128))
    b.operator("RELU", [ai], [bi])
    yi = b.tensor(out)
    b.operator("QUANTIZE", [bi], [yi], schema.QuantizeOptionsT())
    check(b.build([xi], [yi]), ALL_INT8.view(np.uint8), steps=1)


def test_uint8_weights_with_zero_point_128() -> None:
    x, y = Spec((1, 5), np.uint8, Quant(0.05, 131)), Spec((1, 3), np.uint8, Quant(0.05, 100))
    w = np.arange(15, dtype=np.uint8).reshape(3, 5) * 17
    bias = np.array([100, -50, 0], np.int32)
    model = matmul_models.fully_connected(x, w, Quant(0.01, 128), bias, y)
    check(model, np.array([[0, 60, 131, 200, 255]], np.uint8), steps=1)


def test_float_operators_between_dequantize_and_quantize() -> None:
    b = ModelBuilder()
    x, y = int8((1, 256)), int8((1, 256), 0.04, -100)
    xi, fi = b.tensor(x), b.tensor(Spec((1, 256), np.float32))
    b.operator("DEQUANTIZE", [xi], [fi], schema.DequantizeOptionsT())
    gi = b.tensor(Spec((1, 256), np.float32))
    b.operator("EXP", [fi], [gi], schema.ExpOptionsT())
    yi = b.tensor(y)
    b.operator("QUANTIZE", [gi], [yi], schema.QuantizeOptionsT())
    graph = check(b.build([xi], [yi]), ALL_INT8, steps=1)
    assert [node.op for node in graph.nodes] == ["exp"]


def test_float_softmax_behind_dequantize() -> None:
    b = ModelBuilder()
    xi, fi = b.tensor(int8((1, 256))), b.tensor(Spec((1, 256), np.float32))
    b.operator("DEQUANTIZE", [xi], [fi], schema.DequantizeOptionsT())
    yi = b.tensor(Spec((1, 256), np.float32))
    b.operator("SOFTMAX", [fi], [yi], schema.SoftmaxOptionsT(beta=1.0))
    model = b.build([xi], [yi])
    graph = read(model)
    assert [node.op for node in graph.nodes] == ["softmax"]
    np.testing.assert_allclose(run_graph(graph, ALL_INT8)[0], run(model, ALL_INT8)[0], rtol=1e-5)


# Steps that MobileNetV2's fifty layers add up to: at most, on average, and on average with sign,
# which is what a wrong rounding moves. The others round alike in real numbers and in LiteRT.
APART = {"mobilenet_v2": (8, 2.0, 0.25)}


@pytest.mark.parametrize("name", ["ad01", "kws", "mobilenet_v2", "resnet8", "vww"])
def test_trained_models(name: str, models_dir: Path) -> None:
    model = (models_dir / f"{name}_int8.tflite").read_bytes()
    graph = read(model)
    (x,) = graph.inputs
    image = integers(6, x.shape)
    (ours,), (theirs,) = run_graph(graph, image), run(model, image)
    apart = ours.astype(np.int32) - theirs
    most, mean, drift = APART.get(name, (0, 0.0, 0.0))
    assert np.abs(apart).max() <= most
    assert np.abs(apart).mean() <= mean
    assert abs(apart.mean()) <= drift
