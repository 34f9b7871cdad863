"""Single-operator TFLite models that work element by element, or along one axis."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .spec import Spec
from .tflite_matmul_ops import ACTIVATION
from .tflite_model import ModelBuilder

_BINARY_OPTIONS = {
    "ADD": schema.AddOptionsT,
    "SUB": schema.SubOptionsT,
    "MUL": schema.MulOptionsT,
    "DIV": schema.DivOptionsT,
}


def unary(code: str, x: Spec, y: Spec, options: object | None = None) -> bytes:
    """Any operator of one input and one output: RELU, LOGISTIC, TANH, QUANTIZE, ABS ..."""
    b = ModelBuilder()
    xi, yi = b.tensor(x), b.tensor(y)
    b.operator(code, [xi], [yi], options)
    return b.build([xi], [yi])


def leaky_relu(x: Spec, y: Spec, alpha: float) -> bytes:
    """LEAKY_RELU with slope `alpha` for negative values."""
    return unary("LEAKY_RELU", x, y, schema.LeakyReluOptionsT(alpha=alpha))


def gelu(x: Spec, y: Spec, approximate: bool = False) -> bytes:
    """GELU, by erf or by its tanh approximation."""
    return unary("GELU", x, y, schema.GeluOptionsT(approximate=approximate))


def softmax(x: Spec, y: Spec, beta: float = 1.0) -> bytes:
    """SOFTMAX along the last axis."""
    return unary("SOFTMAX", x, y, schema.SoftmaxOptionsT(beta=beta))


def quantize(x: Spec, y: Spec) -> bytes:
    """QUANTIZE: float32 to integers, or one integer quantisation to another."""
    return unary("QUANTIZE", x, y, schema.QuantizeOptionsT())


def dequantize(x: Spec, y: Spec) -> bytes:
    """DEQUANTIZE: integers to float32."""
    return unary("DEQUANTIZE", x, y, schema.DequantizeOptionsT())


def binary(
    code: str,
    a: Spec,
    b_spec: Spec,
    y: Spec,
    *,
    activation: str = "NONE",
    b_values: np.ndarray | None = None,
) -> bytes:
    """ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE; NumPy broadcasting.

    `b_values` makes the second input a constant.
    """
    b = ModelBuilder()
    ai = b.tensor(a)
    bi = b.tensor(b_spec) if b_values is None else b.constant(b_values, b_spec.quant)
    yi = b.tensor(y)
    if code in _BINARY_OPTIONS:
        options = _BINARY_OPTIONS[code](fusedActivationFunction=ACTIVATION[activation])
    elif code in ("MAXIMUM", "MINIMUM"):
        options = schema.MaximumMinimumOptionsT()
    else:
        options = None
    b.operator(code, [ai, bi], [yi], options)
    return b.build([ai] if b_values is not None else [ai, bi], [yi])


def prelu(x: Spec, alpha_spec: Spec, alpha: np.ndarray, y: Spec) -> bytes:
    """PRELU with a constant slope per channel."""
    b = ModelBuilder()
    xi, ai, yi = b.tensor(x), b.constant(alpha, alpha_spec.quant), b.tensor(y)
    b.operator("PRELU", [xi, ai], [yi])
    return b.build([xi], [yi])
