"""Hold a model that the ONNX frontend reads against onnxruntime.

Every model is read, run as a graph in real numbers (`tests.oracle.graph`), converted and run in the
C library, and run by onnxruntime as it is written, without its optimiser: in float32 between
DequantizeLinear and QuantizeLinear. Moves of elements agree exactly. Arithmetic may differ by the
last step in a small share of the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.frontends import onnx as frontend
from edgeinfer.convert.graph import Graph, check_graph
from tests.builders.onnx_model import GraphBuilder
from tests.builders.onnx_run import run
from tests.builders.spec import Quant, Spec
from tests.convert.tally import SHARE, tally
from tests.oracle.graph import run_graph
from tests.oracle.strategies import integers

FEW = settings(max_examples=25)
small = st.integers(1, 3)
pairs = st.tuples(small, small)
auto_pads = st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
activations = st.sampled_from([np.int8, np.uint8])
moved_dtypes = st.sampled_from([np.int8, np.uint8, np.int32, np.float32])


def stored(
    shape: Sequence[Any], dtype: type = np.int8, scale: float = 0.05, zero_point: int = 3
) -> Spec:
    """A quantised tensor. Of an output, axes that onnxruntime is to work out are None."""
    return Spec(tuple(shape), dtype, Quant(scale, zero_point))


def fill(spec: Spec, seed: int = 0) -> np.ndarray:
    """Values of the whole range; floats all differ."""
    dtype = np.dtype(spec.dtype)
    if dtype == np.float32:
        count = int(np.prod(spec.shape))
        order = np.random.default_rng(seed).permutation(count)
        return (order.astype(np.float32) / 16 - 2).reshape(spec.shape)
    return integers(seed, spec.shape, dtype.name)


def read(model: bytes) -> Graph:
    """The graph of a model without problems."""
    graph = frontend.read(model, "model.onnx")
    assert graph.problems == []
    check_graph(graph)
    return graph


def check(
    model: bytes,
    *inputs: np.ndarray,
    steps: float = 0,
    share: float = SHARE,
    in_oracle: bool = True,
    ours: bool = True,
) -> Graph:
    """Read, run, compare with onnxruntime: at most `steps` quantised steps apart.

    Parameters
    ----------
    share : how much of the test's values may differ at all.
    in_oracle : run the graph as the frontend makes it; the oracle knows no operator that reads and
        makes several types.
    ours : run the converted file in the C library.
    """
    graph = read(model)
    expected = run(model, *inputs, optimize=False)
    if in_oracle:
        compare("graph", run_graph(graph, *inputs), expected, steps, share)
    if ours:
        compare("device", run_converted(model, *inputs), expected, steps, share)
    return graph


def run_converted(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Convert, load, run once."""
    loaded = edgeinfer.load(convert(model, name="model.onnx").data)
    given = {info.name: x for info, x in zip(loaded.inputs, inputs, strict=True)}
    results = loaded.run(given)
    if isinstance(results, dict):
        return [results[info.name] for info in loaded.outputs]
    return [results]


def compare(
    what: str,
    actual: list[np.ndarray],
    expected: list[np.ndarray],
    steps: float,
    share: float = SHARE,
) -> None:
    """Equal shapes and dtypes; values at most `steps` apart, and only a share of them."""
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape, what
        assert ours.dtype == theirs.dtype, what
        apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        assert apart.max(initial=0) <= steps, f"{what} and onnxruntime are {apart.max()} apart"
        if ours.dtype.kind in "iu":
            tally.add(what, ours, theirs, share if steps else 0.0)


def weight_quant(channels: int, axis: int, per_channel: bool) -> Quant:
    """Symmetric, per tensor or per channel."""
    if not per_channel:
        return Quant(0.01)
    return Quant(tuple(0.005 * (1 + i % 4) for i in range(channels)), 0, axis)


class Chain:
    """A QDQ graph in the making: quantised inputs, float operators, quantised outputs."""

    def __init__(self, opset: int = 17) -> None:
        self.builder = GraphBuilder()
        self._opset = opset
        self._outputs: dict[str, Spec] = {}

    def input(self, spec: Spec) -> str:
        """A graph input, dequantised where it is quantised."""
        name = self.builder.input(spec)
        return name if spec.quant is None else self.builder.dequantize(name, spec.quant, spec.dtype)

    def constant(self, values: np.ndarray, quant: Quant | None = None) -> str:
        """A constant, dequantised where it is quantised."""
        name = self.builder.constant(values)
        return name if quant is None else self.builder.dequantize(name, quant, values.dtype)

    def node(self, operator: str, *inputs: str, **attributes) -> str:
        """A node of one output."""
        return self.builder.node(operator, inputs, **attributes)

    def requantized(self, value: str, spec: Spec) -> str:
        """The value through QuantizeLinear and DequantizeLinear."""
        assert spec.quant is not None
        quantized = self.builder.quantize(value, spec.quant, spec.dtype)
        return self.builder.dequantize(quantized, spec.quant, spec.dtype)

    def output(self, value: str, spec: Spec) -> None:
        """A graph output, quantised where `spec` is."""
        if spec.quant is not None:
            value = self.builder.quantize(value, spec.quant, spec.dtype)
        self._outputs[value] = spec

    def build(self) -> bytes:
        """The file."""
        return self.builder.build(self._outputs, self._opset)
