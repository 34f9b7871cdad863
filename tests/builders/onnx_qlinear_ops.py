"""ONNX graphs of one operator that works on integers itself (QLinear and relatives)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .onnx_model import MICROSOFT, GraphBuilder
from .spec import Quant, Spec


def _quantized(g: GraphBuilder, x: Spec) -> list[str]:
    return [g.input(x), *g.quantization(x.quantization, x.dtype)]


def conv(
    x: Spec,
    weights: np.ndarray,
    weights_quant: Quant,
    bias: np.ndarray | None,
    y: Spec,
    **attributes: Any,
) -> bytes:
    """QLinearConv: NCHW, int8 weights OIHW, int32 bias."""
    g = GraphBuilder()
    operands = _quantized(g, x)
    operands += [g.constant(weights), *g.quantization(weights_quant, weights.dtype)]
    operands += g.quantization(y.quantization, y.dtype)
    if bias is not None:
        operands.append(g.constant(bias))
    return g.build({g.node("QLinearConv", operands, **attributes): y})


def matmul(a: Spec, b: Spec, y: Spec, b_values: np.ndarray | None = None) -> bytes:
    """QLinearMatMul; `b_values` makes the second input a constant."""
    g = GraphBuilder()
    operands = _quantized(g, a)
    if b_values is None:
        operands += _quantized(g, b)
    else:
        operands += [g.constant(b_values), *g.quantization(b.quantization, b.dtype)]
    operands += g.quantization(y.quantization, y.dtype)
    return g.build({g.node("QLinearMatMul", operands): y})


def gemm(
    x: Spec, weights: np.ndarray, weights_quant: Quant, bias: np.ndarray | None, y: Spec
) -> bytes:
    """com.microsoft QGemm: x [M, K] by weights [N, K] (transB), int32 bias."""
    g = GraphBuilder()
    operands = _quantized(g, x)
    operands += [g.constant(weights), *g.quantization(weights_quant, weights.dtype)]
    operands.append("" if bias is None else g.constant(bias))
    operands += g.quantization(y.quantization, y.dtype)
    return g.build({g.node("QGemm", operands, domain=MICROSOFT, transB=1): y})


def binary(operator: str, a: Spec, b: Spec, y: Spec) -> bytes:
    """com.microsoft QLinearAdd or QLinearMul."""
    g = GraphBuilder()
    operands = [*_quantized(g, a), *_quantized(g, b), *g.quantization(y.quantization, y.dtype)]
    return g.build({g.node(operator, operands, domain=MICROSOFT): y})


def unary(operator: str, x: Spec, y: Spec, **attributes: Any) -> bytes:
    """com.microsoft QLinearSigmoid, QLinearLeakyRelu, QLinearAveragePool, QLinearSoftmax ..."""
    g = GraphBuilder()
    operands = [*_quantized(g, x), *g.quantization(y.quantization, y.dtype)]
    return g.build({g.node(operator, operands, domain=MICROSOFT, **attributes): y})


def concat(xs: Sequence[Spec], y: Spec, axis: int) -> bytes:
    """com.microsoft QLinearConcat: each input has its own quantisation."""
    g = GraphBuilder()
    operands = g.quantization(y.quantization, y.dtype)
    for x in xs:
        operands += _quantized(g, x)
    return g.build({g.node("QLinearConcat", operands, domain=MICROSOFT, axis=axis): y})
