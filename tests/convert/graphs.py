"""Small graphs of the intermediate representation, built by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor, check_graph
from edgeinfer.convert.passes.edit import same_type
from edgeinfer.convert.passes.propagate_quantization import conversion
from tests.convert.tally import SHARE, tally
from tests.oracle.graph import run_graph

NHWC_TO_NCHW = (0, 3, 1, 2)
NCHW_TO_NHWC = (0, 2, 3, 1)


def quantization(scale: float = 0.05, zero_point: int = 3) -> Quantization:
    """Per tensor."""
    return Quantization.per_tensor(scale, zero_point)


Q = quantization()


class GraphBuilder:
    """Collects nodes; every method returns the tensor that it makes."""

    def __init__(self, source_format: str = "onnx") -> None:
        self.graph = Graph("test", [], [], [], source_format)
        self._count = 0

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}_{self._count}"

    def input(
        self, shape: Sequence[int], q: Quantization | None = Q, dtype: str | None = None
    ) -> Tensor:
        """A graph input: int8 when quantised, else float32."""
        tensor = Tensor(self._name("input"), tuple(shape), dtype or _dtype(q), q)
        self.graph.inputs.append(tensor)
        return tensor

    def constant(self, data: np.ndarray, q: Quantization | None = None) -> Tensor:
        """A constant."""
        return Tensor(self._name("constant"), data.shape, str(data.dtype), q, data)

    def node(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        q: Quantization | None = Q,
        dtype: str | None = None,
        activation: Any = None,
        **attrs: Any,
    ) -> Tensor:
        """A node of one output: int8 when quantised, else float32."""
        y = Tensor(self._name(op), tuple(shape), dtype or _dtype(q), q)
        node = Node(op, list(inputs), [y], attrs, activation, name=f"the {y.name}", source=op)
        self.graph.nodes.append(node)
        return y

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        """x under a permutation of its axes."""
        shape = [x.shape[axis] for axis in perm]
        return self.node("transpose", [x], shape, x.quantization, x.dtype, perm=tuple(perm))

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The elements of x under another shape."""
        return self.node("reshape", [x], shape, x.quantization, x.dtype)

    def weights(
        self, seed: int, shape: Sequence[int], scale: float | Sequence[float] = 0.02, axis: int = 0
    ) -> Tensor:
        """Constant symmetric int8."""
        data = np.random.default_rng(seed).integers(-128, 128, tuple(shape)).astype(np.int8)
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        return self.constant(data, Quantization(scales, np.zeros(scales.size, np.int64), axis))

    def conv2d(
        self,
        x: Tensor,
        channels: int,
        kernel: int = 3,
        q: Quantization | None = Q,
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        seed: int = 0,
        bias: Tensor | None = None,
        activation: Any = None,
    ) -> Tensor:
        """A convolution of stride 1 on NHWC."""
        n, height, width, depth = x.shape
        w = self.weights(seed, (channels, kernel, kernel, depth))
        shape = (
            n,
            height + pads[0] + pads[2] - kernel + 1,
            width + pads[1] + pads[3] - kernel + 1,
            channels,
        )
        return self.node(
            "conv2d",
            [x, w, bias],
            shape,
            q,
            activation=activation,
            strides=(1, 1),
            dilations=(1, 1),
            pads=pads,
            groups=1,
        )

    def pad(self, x: Tensor, before: Sequence[int], after: Sequence[int], **attrs: Any) -> Tensor:
        """x with constants, 0.0 unless given, around it."""
        shape = [b + n + a for b, n, a in zip(before, x.shape, after, strict=True)]
        attrs = {"mode": "constant", "value": 0.0, **attrs}
        return self.node(
            "pad",
            [x],
            shape,
            x.quantization,
            x.dtype,
            before=tuple(before),
            after=tuple(after),
            **attrs,
        )

    def build(self, *outputs: Tensor) -> Graph:
        """The graph, checked."""
        self.graph.outputs = list(outputs)
        check_graph(self.graph)
        return self.graph


def _dtype(q: Quantization | None) -> str:
    return "float32" if q is None else "int8"


def operators(graph: Graph) -> list[str]:
    """The operators of a graph, in order."""
    return [node.op for node in graph.nodes]


def random_inputs(graph: Graph, seed: int) -> list[np.ndarray]:
    """Values of the whole range for every input; float32 as int8 reaches at scale 0.05."""
    rng = np.random.default_rng(seed)
    values = []
    for tensor in graph.inputs:
        if tensor.dtype == "float32":
            values.append(rng.uniform(-7, 7, tensor.shape).astype(np.float32))
        else:
            info = np.iinfo(tensor.dtype)
            values.append(rng.integers(info.min, info.max + 1, tensor.shape).astype(tensor.dtype))
    return values


def run(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the graph means, by `tests.oracle.graph`, which knows neither chains nor mixed moves.

    A pointwise node stands for its body; a node that moves values between types for a conversion
    and a move.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "pointwise":
            nodes += node.attrs["body"]
        elif node.op in _MOVES and not same_type(node.input(0), node.output):
            y = node.output
            op = conversion(node.input(0), y)
            assert op
            stored = Tensor("stored", node.input(0).shape, y.dtype, y.quantization)
            nodes.append(Node(op, [node.input(0)], [stored]))
            nodes.append(Node(node.op, [stored, *node.inputs[1:]], [y], node.attrs))
        else:
            nodes.append(node)
    unfolded = Graph(graph.name, graph.inputs, graph.outputs, nodes, graph.source_format)
    return run_graph(unfolded, *inputs)


_MOVES = ("reshape", "transpose", "slice", "pad", "gather")


def assert_same_meaning(before: list[np.ndarray], after: list[np.ndarray], steps: int = 0) -> None:
    """Equal outputs; a share of quantised ones up to `steps` apart, float32 up to rounding."""
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert old.shape == new.shape and old.dtype == new.dtype
        if old.dtype == np.float32:
            np.testing.assert_allclose(new, old, rtol=1e-6, atol=1e-6)
        else:
            assert np.abs(old.astype(np.int64) - new.astype(np.int64)).max(initial=0) <= steps
            tally.add("after", new, old, SHARE)
