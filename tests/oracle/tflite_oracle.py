"""Run a whole INT8 .tflite model by the oracle, one operator after the other.

What the single-operator tests cannot show: that LiteRT fuses nothing across operators that would
change a bit, and that real scales behave. Only the operators that `OPERATORS` lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from . import convolution, elementwise, lookup_tables, pooling, softmax
from .requantize import activation_range, multipliers, requantize

_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_ACTIVATIONS = {v: k for k, v in vars(schema.ActivationFunctionType).items() if isinstance(v, int)}
_PADDINGS = {v: k for k, v in vars(schema.Padding).items() if isinstance(v, int)}
_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}


class TfliteOracle:
    """A parsed model; `run` computes its outputs.

    Parameters
    ----------
    model : bytes
        A .tflite file of one subgraph.
    """

    def __init__(self, model: bytes) -> None:
        parsed = schema.ModelT.InitFromPackedBuf(model, 0)
        self._graph = parsed.subgraphs[0]
        self._codes = [
            _NAMES[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in parsed.operatorCodes
        ]
        self._constants: dict[int, np.ndarray] = {}
        for index, tensor in enumerate(self._graph.tensors):
            data = parsed.buffers[tensor.buffer].data
            if data is not None and len(data):
                values = np.frombuffer(bytes(data), _DTYPES[tensor.type])
                self._constants[index] = values.reshape(self.shape(index))

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Outputs of the model in the order of the file."""
        values = dict(self._constants)
        values.update(zip(self._graph.inputs, inputs, strict=True))
        for op in self._graph.operators:
            code = self._codes[op.opcodeIndex]
            values[op.outputs[0]] = OPERATORS[code](self, op, values)
        return [values[i] for i in self._graph.outputs]

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor; () where the file has none."""
        shape = self._graph.tensors[index].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def quantization(self, index: int) -> tuple[float, int]:
        """Scale and zero point of a per-tensor quantised tensor."""
        q = self._graph.tensors[index].quantization
        return float(q.scale[0]), int(q.zeroPoint[0])

    def scales(self, index: int) -> np.ndarray:
        """All scales of a tensor."""
        return np.asarray(self._graph.tensors[index].quantization.scale, np.float32)

    def clamp(self, op: schema.OperatorT) -> tuple[int, int]:
        """The range that the fused activation of an operator leaves."""
        activation = _ACTIVATIONS[op.builtinOptions.fusedActivationFunction]
        return activation_range(activation, *self.quantization(op.outputs[0]))


Values = dict[int, np.ndarray]
Handler = Callable[[TfliteOracle, Any, Values], np.ndarray]


def _finish(model: TfliteOracle, op, sums: np.ndarray) -> np.ndarray:
    s_x, _ = model.quantization(op.inputs[0])
    s_y, zp_y = model.quantization(op.outputs[0])
    m = multipliers(s_x, model.scales(op.inputs[1]), s_y)
    return requantize(sums, m, zp_y, model.clamp(op))


def _weighted(model: TfliteOracle, op, values: Values, sum_up, kernel) -> np.ndarray:
    x, weights, bias = (values[i] for i in op.inputs)
    o = op.builtinOptions
    strides, dilations = (o.strideH, o.strideW), (o.dilationHFactor, o.dilationWFactor)
    rule = _PADDINGS[o.padding]
    _, padding = convolution.resolve_padding(rule, x.shape[1:3], kernel, strides, dilations)
    geometry = {"strides": strides, "dilations": dilations, "padding": padding}
    _, zp_x = model.quantization(op.inputs[0])
    return _finish(model, op, sum_up(x, zp_x, weights, bias, **geometry))


def _conv_2d(model: TfliteOracle, op, values: Values) -> np.ndarray:
    kernel = values[op.inputs[1]].shape[1:3]
    return _weighted(model, op, values, convolution.conv_2d_sums, kernel)


def _depthwise_conv_2d(model: TfliteOracle, op, values: Values) -> np.ndarray:
    kernel = values[op.inputs[1]].shape[1:3]
    return _weighted(model, op, values, convolution.depthwise_conv_2d_sums, kernel)


def _fully_connected(model: TfliteOracle, op, values: Values) -> np.ndarray:
    x, weights, bias = (values[i] for i in op.inputs)
    _, zp_x = model.quantization(op.inputs[0])
    x = x.reshape(-1, weights.shape[1])
    return _finish(model, op, convolution.fully_connected_sums(x, zp_x, weights, bias))


def _add(model: TfliteOracle, op, values: Values) -> np.ndarray:
    a, b = (values[i] for i in op.inputs)
    s_y, zp_y = model.quantization(op.outputs[0])
    quantizations = (*model.quantization(op.inputs[0]), *model.quantization(op.inputs[1]))
    parameters = elementwise.add_parameters(*quantizations, s_y)
    return elementwise.add(a, b, parameters, zp_y, model.clamp(op))


def _average_pool_2d(model: TfliteOracle, op, values: Values) -> np.ndarray:
    x, o = values[op.inputs[0]], op.builtinOptions
    kernel, strides = (o.filterHeight, o.filterWidth), (o.strideH, o.strideW)
    rule = _PADDINGS[o.padding]
    _, padding = convolution.resolve_padding(rule, x.shape[1:3], kernel, strides, (1, 1))
    clamp = model.clamp(op)
    return pooling.average_pool_2d(x, kernel, strides=strides, padding=padding, clamp=clamp)


def _mean(model: TfliteOracle, op, values: Values) -> np.ndarray:
    x = values[op.inputs[0]]
    axes = [int(a) % x.ndim for a in values[op.inputs[1]].reshape(-1)]
    count = int(np.prod([x.shape[a] for a in axes]))
    quantizations = (*model.quantization(op.inputs[0]), *model.quantization(op.outputs[0]))
    parameters = pooling.reduce_parameters(*quantizations, count, mean=True)
    return pooling.reduce_sum(x, axes, *parameters, keep_dims=op.builtinOptions.keepDims)


def _softmax(model: TfliteOracle, op, values: Values) -> np.ndarray:
    s_x, _ = model.quantization(op.inputs[0])
    return softmax.softmax(values[op.inputs[0]], softmax.exp_table(s_x, op.builtinOptions.beta))


def _quantize(model: TfliteOracle, op, values: Values) -> np.ndarray:
    x = values[op.inputs[0]]
    if x.dtype == np.float32:
        return elementwise.quantize(x, *model.quantization(op.outputs[0]))
    table = lookup_tables.requantize(
        *model.quantization(op.inputs[0]), *model.quantization(op.outputs[0])
    )
    return table[x.astype(np.int64) + 128]


def _dequantize(model: TfliteOracle, op, values: Values) -> np.ndarray:
    return elementwise.dequantize(values[op.inputs[0]], *model.quantization(op.inputs[0]))


def _pad(model: TfliteOracle, op, values: Values) -> np.ndarray:
    x, paddings = (values[i] for i in op.inputs[:2])
    fill = values[op.inputs[2]].item() if len(op.inputs) > 2 else None
    if fill is None:
        _, fill = model.quantization(op.inputs[0])
    return np.pad(x, paddings, constant_values=fill)


def _reshape(model: TfliteOracle, op, values: Values) -> np.ndarray:
    return values[op.inputs[0]].reshape(model.shape(op.outputs[0]))


def _transpose(model: TfliteOracle, op, values: Values) -> np.ndarray:
    x, permutation = (values[i] for i in op.inputs)
    return x.transpose(permutation)


OPERATORS: dict[str, Handler] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _average_pool_2d,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "MEAN": _mean,
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _quantize,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "TRANSPOSE": _transpose,
}
