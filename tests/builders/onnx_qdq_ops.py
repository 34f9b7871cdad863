"""ONNX graphs of one float operator between DequantizeLinear and QuantizeLinear (QDQ).

Inputs and outputs are integers. Layouts are ONNX's: NCHW, weights OIHW.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .onnx_model import OPSET, GraphBuilder
from .spec import Quant, Spec


def unary(
    operator: str,
    x: Spec,
    y: Spec,
    *,
    constants: Sequence[np.ndarray | None] = (),
    opset: int = OPSET,
    **attributes: Any,
) -> bytes:
    """Any operator of one activation: Relu, Sigmoid, Softmax, AveragePool, Resize ...

    `constants` are further inputs; None leaves one out.
    """
    g = GraphBuilder()
    value = g.dequantize(g.input(x), x.quantization, x.dtype)
    extra = ["" if c is None else g.constant(c) for c in constants]
    value = g.node(operator, [value, *extra], **attributes)
    return g.build({g.quantize(value, y.quantization, y.dtype): y}, opset)


def binary(operator: str, a: Spec, b: Spec, y: Spec, **attributes: Any) -> bytes:
    """Any operator of two activations: Add, Sub, Mul, Max, MatMul ..."""
    return variadic(operator, [a, b], y, **attributes)


def variadic(operator: str, xs: Sequence[Spec], y: Spec, **attributes: Any) -> bytes:
    """Any operator of several activations: Concat, Add ..."""
    g = GraphBuilder()
    values = [g.dequantize(g.input(x), x.quantization, x.dtype) for x in xs]
    value = g.node(operator, values, **attributes)
    return g.build({g.quantize(value, y.quantization, y.dtype): y})


def weighted(
    operator: str,
    x: Spec,
    weights: np.ndarray,
    weights_quant: Quant,
    bias: np.ndarray | None,
    y: Spec,
    *,
    activation: str | None = None,
    **attributes: Any,
) -> bytes:
    """Conv, ConvTranspose, MatMul or Gemm with int8 weights and an int32 bias.

    `activation` names an operator between it and QuantizeLinear, for instance "Relu".
    """
    g = GraphBuilder()
    value = g.dequantize(g.input(x), x.quantization, x.dtype)
    operands = [value, g.dequantize(g.constant(weights), weights_quant)]
    if bias is not None:
        bias_quant = Quant(np.float32(x.quantization.scales[0]) * weights_quant.scales, 0)
        operands.append(g.dequantize(g.constant(bias), bias_quant, np.int32))
    value = g.node(operator, operands, **attributes)
    if activation is not None:
        value = g.node(activation, [value])
    return g.build({g.quantize(value, y.quantization, y.dtype): y})


def quantize(x: Spec, y: Spec) -> bytes:
    """QuantizeLinear alone: float32 in, integers out."""
    g = GraphBuilder()
    return g.build({g.quantize(g.input(x), y.quantization, y.dtype): y})


def dequantize(x: Spec, y: Spec) -> bytes:
    """DequantizeLinear alone: integers in, float32 out."""
    g = GraphBuilder()
    return g.build({g.dequantize(g.input(x), x.quantization, x.dtype): y})


def requantize(x: Spec, y: Spec) -> bytes:
    """DequantizeLinear and QuantizeLinear: one quantisation to another."""
    g = GraphBuilder()
    value = g.dequantize(g.input(x), x.quantization, x.dtype)
    return g.build({g.quantize(value, y.quantization, y.dtype): y})
