"""Rewrite operators on integers (QLinearConv, QGemm ...) as float operators between conversions.

QLinearAdd(a, s_a, z_a, b, s_b, z_b, s_y, z_y) means QuantizeLinear(Add(DequantizeLinear(a),
DequantizeLinear(b))), and is read as that. So there is one reading of every operator, however a
quantiser has written it. Names and operators in messages stay those of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .model_file import MICROSOFT, Array, SourceNode

_VERSION = 13
"""Operator set in which the float operators are read: the last with all their attributes."""


@dataclass
class _Rewriter:
    """Collects the nodes of one rewritten operator."""

    node: SourceNode
    constants: dict[str, Array]
    taken: set[str]
    nodes: list[SourceNode] = field(default_factory=list)

    def operand(self, index: int) -> str:
        """Input `index`, "" when absent."""
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def name(self, suffix: str) -> str:
        """A new name."""
        name = f"{self.node.outputs[0]}/{suffix}"
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return name

    def dequantized(self, index: int, **attrs: int) -> str:
        """The real numbers of input `index`, whose scale and zero point are the next two."""
        if not self.operand(index) or not self.operand(index + 1):
            raise _NotRewritten
        return self._dequantize([self.operand(index + i) for i in range(3)], attrs)

    def bias(self, index: int, x_scale: int, w_scale: int) -> str:
        """The real numbers of an int32 bias at scale s_x * s_w."""
        if not self.operand(index):
            return ""
        scales = [self.constants[self.operand(i)].astype(np.float32) for i in (x_scale, w_scale)]
        if scales[0].size != 1:
            raise _NotRewritten
        with np.errstate(over="ignore"):  # an infinite scale is refused with the others
            product = scales[0].reshape(()) * scales[1].reshape(-1)
        # A product below the smallest float32 stands for nothing, but a scale must be above zero.
        product = np.maximum(product, np.finfo(np.float32).tiny)
        scale = self.name("bias_scale")
        self.constants[scale] = product if product.size > 1 else product.reshape(())
        return self._dequantize([self.operand(index), scale], {"axis": 0})

    def _dequantize(self, inputs: list[str], attrs: Mapping[str, int]) -> str:
        while not inputs[-1]:
            inputs.pop()
        result = self.name(f"real_{len(self.nodes)}")
        self.nodes.append(self.node.rewritten("DequantizeLinear", inputs, result, attrs, _VERSION))
        return result

    def finish(
        self, op: str, inputs: list[str], y_scale: int, attrs: Mapping[str, Any]
    ) -> list[SourceNode]:
        """The float operator and its QuantizeLinear, whose scale is input `y_scale`."""
        while inputs and not inputs[-1]:
            inputs.pop()
        output = self.node.outputs[0]
        if not self.operand(y_scale):
            if self.node.op != "QGemm":  # which may leave its result in float
                raise _NotRewritten
            self.nodes.append(self.node.rewritten(op, inputs, output, attrs, _VERSION))
            return self.nodes
        real = self.name("real")
        self.nodes.append(self.node.rewritten(op, inputs, real, attrs, _VERSION))
        quantize = [real, self.operand(y_scale)]
        if self.operand(y_scale + 1):
            quantize.append(self.operand(y_scale + 1))
        self.nodes.append(self.node.rewritten("QuantizeLinear", quantize, output, {}, _VERSION))
        return self.nodes


def _conv(r: _Rewriter) -> list[SourceNode]:
    operands = [r.dequantized(0), r.dequantized(3, axis=0), r.bias(8, 1, 4)]
    return r.finish("Conv", operands, 6, r.node.attrs)


def _matmul(r: _Rewriter) -> list[SourceNode]:
    # Scales of b may be per column, as [N], or as [1, N] in a matrix of their own.
    scale = r.constants[r.operand(4)]
    if scale.ndim > 1:
        raise _NotRewritten
    return r.finish("MatMul", [r.dequantized(0), r.dequantized(3, axis=-1)], 6, {})


def _gemm(r: _Rewriter) -> list[SourceNode]:
    axis = 0 if r.node.attrs.get("transB", 0) else 1
    operands = [r.dequantized(0), r.dequantized(3, axis=axis)]
    attrs = dict(r.node.attrs)
    alpha = attrs.get("alpha", 1.0)
    operands.append(r.bias(6, 1, 4))
    if alpha != 1.0 and r.operand(6):
        # c is at scale alpha * s_a * s_b: beta brings the bias made above to it.
        attrs["beta"] = alpha
    return r.finish("Gemm", operands, 7, attrs)


def _unary(op: str) -> Callable[[_Rewriter], list[SourceNode]]:
    return lambda r: r.finish(op, [r.dequantized(0)], 3, r.node.attrs)


def _binary(op: str) -> Callable[[_Rewriter], list[SourceNode]]:
    return lambda r: r.finish(op, [r.dequantized(0), r.dequantized(3)], 6, r.node.attrs)


def _concat(r: _Rewriter) -> list[SourceNode]:
    operands = [r.dequantized(i) for i in range(2, len(r.node.inputs), 3)]
    return r.finish("Concat", operands, 0, r.node.attrs)


_REWRITES: dict[str, Callable[[_Rewriter], list[SourceNode]]] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    f"{MICROSOFT}:QGemm": _gemm,
    f"{MICROSOFT}:QLinearAdd": _binary("Add"),
    f"{MICROSOFT}:QLinearAveragePool": _unary("AveragePool"),
    f"{MICROSOFT}:QLinearConcat": _concat,
    f"{MICROSOFT}:QLinearConv": _conv,
    f"{MICROSOFT}:QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    f"{MICROSOFT}:QLinearLeakyRelu": _unary("LeakyRelu"),
    f"{MICROSOFT}:QLinearMul": _binary("Mul"),
    f"{MICROSOFT}:QLinearReduceMean": _unary("ReduceMean"),
    f"{MICROSOFT}:QLinearSigmoid": _unary("Sigmoid"),
    f"{MICROSOFT}:QLinearSoftmax": _unary("Softmax"),
}


class _NotRewritten(Exception):
    """The operator stays as it is, to be refused when it is looked at."""


def rewrite_qlinear(
    nodes: Iterable[SourceNode], constants: dict[str, Array], names: Iterable[str]
) -> list[SourceNode]:
    """The nodes with every operator on integers rewritten; constants of the new ones are added.

    Those whose layout is channels-last, and those with scales that are not constants, stay.
    """
    taken = set(names)
    result: list[SourceNode] = []
    for node in nodes:
        rewrite = _REWRITES.get(node.key)
        if rewrite is None or not node.outputs or node.attrs.get("channels_last", 0):
            result.append(node)
            continue
        rewriter = _Rewriter(node, constants, taken)
        try:
            result += rewrite(rewriter)
        except (_NotRewritten, KeyError):  # KeyError: a scale that is not among the constants
            result.append(node)
    return result


def is_rewritable(node: SourceNode) -> bool:
    """Whether the operator is one that this module knows."""
    return node.key in _REWRITES
