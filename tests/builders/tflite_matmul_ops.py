"""Single-operator TFLite models whose operators multiply by weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .spec import Quant, Spec
from .tflite_model import ModelBuilder

PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}
ACTIVATION = {
    "NONE": schema.ActivationFunctionType.NONE,
    "RELU": schema.ActivationFunctionType.RELU,
    "RELU6": schema.ActivationFunctionType.RELU6,
    "RELU_N1_TO_1": schema.ActivationFunctionType.RELU_N1_TO_1,
}


def bias_quant(x: Spec, weights: Quant) -> Quant:
    """The quantisation that a bias must have: scale s_x * s_w per channel, zero point 0."""
    return Quant(np.float32(x.quantization.scales[0]) * weights.scales, 0)


def _bias(
    builder: ModelBuilder, bias: np.ndarray | None, x: Spec, weights: Quant | None
) -> list[int]:
    if bias is None:
        return []
    quant = bias_quant(x, weights) if x.quant and weights else None
    return [builder.constant(bias, quant)]


def conv_2d(
    x: Spec,
    weights: np.ndarray,
    weights_quant: Quant | None,
    bias: np.ndarray | None,
    y: Spec,
    *,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    activation: str = "NONE",
) -> bytes:
    """CONV_2D; x is NHWC, weights are OHWI. I smaller than x's channels makes it grouped."""
    b = ModelBuilder()
    xi, wi = b.tensor(x), b.constant(weights, weights_quant)
    bi = _bias(b, bias, x, weights_quant)
    yi = b.tensor(y)
    options = schema.Conv2DOptionsT(
        padding=PADDING[padding],
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=dilations[0],
        dilationWFactor=dilations[1],
        fusedActivationFunction=ACTIVATION[activation],
    )
    b.operator("CONV_2D", [xi, wi, *bi], [yi], options)
    return b.build([xi], [yi])


def depthwise_conv_2d(
    x: Spec,
    weights: np.ndarray,
    weights_quant: Quant | None,
    bias: np.ndarray | None,
    y: Spec,
    *,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    activation: str = "NONE",
) -> bytes:
    """DEPTHWISE_CONV_2D; x is NHWC, weights are 1HWO with O = channels * multiplier."""
    b = ModelBuilder()
    xi, wi = b.tensor(x), b.constant(weights, weights_quant)
    bi = _bias(b, bias, x, weights_quant)
    yi = b.tensor(y)
    options = schema.DepthwiseConv2DOptionsT(
        padding=PADDING[padding],
        strideH=strides[0],
        strideW=strides[1],
        depthMultiplier=weights.shape[3] // x.shape[3],
        dilationHFactor=dilations[0],
        dilationWFactor=dilations[1],
        fusedActivationFunction=ACTIVATION[activation],
    )
    b.operator("DEPTHWISE_CONV_2D", [xi, wi, *bi], [yi], options)
    return b.build([xi], [yi])


def transpose_conv(
    x: Spec,
    weights: np.ndarray,
    weights_quant: Quant | None,
    bias: np.ndarray | None,
    y: Spec,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    activation: str = "NONE",
) -> bytes:
    """TRANSPOSE_CONV; x is NHWC, weights are OHWI, y's shape is a constant input."""
    b = ModelBuilder()
    si = b.constant(np.asarray(y.shape, np.int32))
    wi, xi = b.constant(weights, weights_quant), b.tensor(x)
    inputs = [si, wi, xi, *_bias(b, bias, x, weights_quant)]
    yi = b.tensor(y)
    options = schema.TransposeConvOptionsT(
        padding=PADDING[padding],
        strideH=strides[0],
        strideW=strides[1],
        fusedActivationFunction=ACTIVATION[activation],
    )
    b.operator("TRANSPOSE_CONV", inputs, [yi], options)
    return b.build([xi], [yi])


def fully_connected(
    x: Spec,
    weights: np.ndarray,
    weights_quant: Quant | None,
    bias: np.ndarray | None,
    y: Spec,
    *,
    keep_num_dims: bool = False,
    activation: str = "NONE",
) -> bytes:
    """FULLY_CONNECTED; x is [..., K], weights are [N, K]."""
    b = ModelBuilder()
    xi, wi = b.tensor(x), b.constant(weights, weights_quant)
    bi = _bias(b, bias, x, weights_quant)
    yi = b.tensor(y)
    options = schema.FullyConnectedOptionsT(
        fusedActivationFunction=ACTIVATION[activation], keepNumDims=keep_num_dims
    )
    b.operator("FULLY_CONNECTED", [xi, wi, *bi], [yi], options)
    return b.build([xi], [yi])


def batch_matmul(
    a: Spec,
    b_spec: Spec,
    y: Spec,
    *,
    adj_x: bool = False,
    adj_y: bool = False,
    b_values: np.ndarray | None = None,
) -> bytes:
    """BATCH_MATMUL of [..., M, K] by [..., K, N]; `b_values` makes the second input constant."""
    b = ModelBuilder()
    ai = b.tensor(a)
    bi = b.tensor(b_spec) if b_values is None else b.constant(b_values, b_spec.quant)
    yi = b.tensor(y)
    b.operator("BATCH_MATMUL", [ai, bi], [yi], schema.BatchMatMulOptionsT(adjX=adj_x, adjY=adj_y))
    return b.build([ai] if b_values is not None else [ai, bi], [yi])


def grouped_weight_shape(
    out_channels: int, kernel: Sequence[int], in_channels: int, groups: int
) -> tuple[int, int, int, int]:
    """The OHWI shape of CONV_2D weights with `groups` groups."""
    return (out_channels, kernel[0], kernel[1], in_channels // groups)
