"""ONNX graphs in memory: initialisers, nodes, and quantised values between them.

`GraphBuilder` names everything itself. The modules `onnx_*_ops.py` beside it make graphs of one
operator, either between QuantizeLinear and DequantizeLinear (QDQ) or as one operator on integers
(QLinear).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .spec import Quant, Spec

OPSET = 17
MICROSOFT = "com.microsoft"


class GraphBuilder:
    """Collects inputs, constants and nodes of one graph; `build` returns the file's bytes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, spec: Spec) -> str:
        """Add a graph input and return its name."""
        name = self._name("x")
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        self._inputs.append(helper.make_tensor_value_info(name, kind, spec.shape))
        return name

    def constant(self, values: np.ndarray) -> str:
        """Add an initialiser and return its name."""
        name = self._name("c")
        self._constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def node(
        self, operator: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node of one output and return that output's name."""
        name = self._name("v")
        self._nodes.append(
            helper.make_node(operator, list(inputs), [name], domain=domain, **attributes)
        )
        return name

    def quantization(self, quant: Quant, dtype: type | np.dtype) -> list[str]:
        """Scale and zero point as two constants: scalars, or vectors per channel."""
        scales, points = quant.scales, quant.zero_points.astype(dtype)
        if len(scales) == 1:
            scales, points = scales[0], points[0]
        return [self.constant(np.asarray(scales)), self.constant(np.asarray(points))]

    def dequantize(self, name: str, quant: Quant, dtype: type | np.dtype = np.int8) -> str:
        """A DequantizeLinear of the value `name`."""
        operands = [name, *self.quantization(quant, dtype)]
        if len(quant.scales) == 1:
            return self.node("DequantizeLinear", operands)
        return self.node("DequantizeLinear", operands, axis=quant.axis)

    def quantize(self, name: str, quant: Quant, dtype: type | np.dtype = np.int8) -> str:
        """A QuantizeLinear of the value `name`."""
        return self.node("QuantizeLinear", [name, *self.quantization(quant, dtype)])

    def build(self, outputs: dict[str, Spec], opset: int = OPSET) -> bytes:
        """Serialise the graph with the given values as its outputs."""
        infos = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape
            )
            for name, spec in outputs.items()
        ]
        graph = helper.make_graph(
            self._nodes, "test", self._inputs, infos, initializer=self._constants
        )
        imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8)
        return model.SerializeToString()

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"
