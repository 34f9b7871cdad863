"""All passes together: random graphs keep their meaning, real models lose what they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.frontends import read
from edgeinfer.convert.graph import Graph, GraphError, Tensor
from edgeinfer.convert.lower.lower_graph import lower
from edgeinfer.convert.passes import pipeline, run_passes
from tests.builders import tflite_run
from tests.convert.graphs import (
    NCHW_TO_NHWC,
    NHWC_TO_NCHW,
    GraphBuilder,
    assert_same_meaning,
    operators,
    quantization,
    random_inputs,
    run,
)

# No two are a simple ratio apart, so that rounding in float64 meets no ties.
QUANTIZATIONS = [quantization(0.0517, 3), quantization(0.0931, -7), quantization(0.0713, -128)]


class RandomNetwork:
    """An NCHW network as ONNX frontends emit it: transposes around images, gaps in float32."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.b = GraphBuilder()
        self.tensors = [self.stored(self.b.input((1, 4, 4, 4), None))]

    def pick(self, values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def stored(self, x: Tensor) -> Tensor:
        """Quantised where it is float32."""
        if x.quantization is not None:
            return x
        return self.b.node("quantize", [x], x.shape, self.pick(QUANTIZATIONS))

    def real(self, x: Tensor) -> Tensor:
        """float32 where it is quantised, or left as it is."""
        if x.quantization is None or self.pick([False, True]):
            return x
        return self.b.node("dequantize", [x], x.shape, None)

    def result(self) -> Any:
        """The quantisation of a result, or None to leave it in float32 for now."""
        return self.pick([None, *QUANTIZATIONS])

    def step(self) -> None:
        """Add an operator on some of the tensors."""
        kind = self.pick(["conv", "unary", "binary", "concat", "pool", "pad", "gate", "shuffle"])
        x = self.pick(self.tensors)
        y: Tensor = getattr(self, kind)(x)
        self.tensors.append(self.stored(y))

    def conv(self, x: Tensor) -> Tensor:
        b = self.b
        out = self.pick([1, 3, 4])
        seed = len(b.graph.nodes)
        y = b.conv2d(b.transpose(self.stored(x), NCHW_TO_NHWC), out, 1, q=self.result(), seed=seed)
        y = b.transpose(y, NHWC_TO_NCHW)
        if y.quantization is None and self.pick([False, True]):
            bias = b.constant(np.linspace(-1, 1, out, dtype=np.float32).reshape(1, out, 1, 1))
            y = b.node("add", [y, bias], y.shape, None)
        return y

    def unary(self, x: Tensor) -> Tensor:
        op = self.pick(["relu", "relu6", "tanh", "sigmoid", "neg", "hard_swish"])
        return self.b.node(op, [self.real(x)], x.shape, self.result())

    def binary(self, x: Tensor) -> Tensor:
        same = [t for t in self.tensors if t.shape == x.shape]
        op = self.pick(["add", "sub", "mul", "maximum"])
        return self.b.node(op, [self.real(x), self.real(self.pick(same))], x.shape, self.result())

    def concat(self, x: Tensor) -> Tensor:
        fit = [t for t in self.tensors if t.shape[2:] == x.shape[2:]]
        operands = [x, self.pick(fit)]
        channels = sum(t.shape[1] for t in operands)
        shape = (1, channels, *x.shape[2:])
        return self.b.node("concat", operands, shape, self.pick(QUANTIZATIONS), axis=1)

    def pool(self, x: Tensor) -> Tensor:
        x = self.b.transpose(x, NCHW_TO_NHWC)
        n, height, width, depth = x.shape
        y = self.b.node(
            "max_pool2d",
            [x],
            (n, height // 2, width // 2, depth) if min(height, width) > 1 else x.shape,
            x.quantization,
            kernel=(2, 2) if min(height, width) > 1 else (1, 1),
            strides=(2, 2),
            dilations=(1, 1),
            pads=(0, 0, 0, 0),
        )
        return self.b.transpose(y, NHWC_TO_NCHW)

    def pad(self, x: Tensor) -> Tensor:
        return self.b.pad(self.real(x), (0, 0, 1, 0), (0, 0, 0, 1))

    def gate(self, x: Tensor) -> Tensor:
        pooled = self.b.node(
            "mean", [x], (1, x.shape[1], 1, 1), self.result(), axes=(2, 3), keep_dims=True
        )
        return self.b.node("mul", [x, pooled], x.shape, self.result())

    def shuffle(self, x: Tensor) -> Tensor:
        n, depth, height, width = x.shape
        if depth % 2:
            return self.unary(x)
        grouped = self.b.reshape(x, (n, 2, depth // 2, height, width))
        return self.b.reshape(self.b.transpose(grouped, (0, 2, 1, 3, 4)), x.shape)

    def build(self) -> Graph:
        last = self.tensors[-1]
        flat = self.b.reshape(last, (1, int(np.prod(last.shape))))
        w = self.b.weights(7, (3, flat.shape[1]), 0.002)
        y = self.b.node("fully_connected", [flat, w, None], (1, 3), QUANTIZATIONS[0])
        others = [self.real(t) for t in self.tensors[1:] if self.pick([False, False, True])]
        return self.b.build(y, *dict.fromkeys(others))


@settings(max_examples=150)
@given(st.data())
def test_random_networks_keep_their_meaning(data: Any) -> None:
    network = RandomNetwork(data.draw)
    for _ in range(data.draw(st.integers(1, 7))):
        network.step()
    graph = network.build()
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    names = [tensor.name for tensor in graph.outputs]
    run_passes(graph)
    assert [tensor.name for tensor in graph.outputs] == names
    assert_same_meaning(expected, run(graph, inputs), steps=1)
    nodes = operators(graph)
    run_passes(graph)  # nothing is left to do
    assert operators(graph) == nodes


def test_passes_that_undo_each_other_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def restless(graph: Graph) -> bool:
        return True

    monkeypatch.setattr(pipeline, "STAGES", (("a stage", (restless,)),))
    b = GraphBuilder()
    graph = b.build(b.node("relu", [b.input((2,))], (2,)))
    with pytest.raises(GraphError, match="do not come to rest"):
        run_passes(graph)


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(graph: Graph) -> bool:
        graph.nodes.clear()
        return True

    monkeypatch.setattr(pipeline, "STAGES", (("a stage", (forgetful,)),))
    b = GraphBuilder()
    graph = b.build(b.node("relu", [b.input((2,))], (2,)))
    with pytest.raises(GraphError, match="after forgetful: graph output 'relu_2' is never made"):
        run_passes(graph)


def converted_operators(path: Path, source_format: str) -> list[str]:
    graph = read(source_format, path.read_bytes(), path.name)
    run_passes(graph)
    result = lower(graph)
    assert graph.problems == [] and result.problems == []
    return [operation.operator for operation in result.program.operations]


def test_the_digits_example_has_no_transpose_left(digits_dir: Path) -> None:
    found = converted_operators(digits_dir / "digits_int8.onnx", "onnx")
    assert "transpose" not in found
    assert found.count("conv2d") == 4 and found.count("depthwise_conv2d") == 3
    assert sorted(set(found)) == [
        "add",
        "conv2d",
        "copy",
        "depthwise_conv2d",
        "dequantize",
        "fully_connected",
        "max_pool2d",
        "quantize",
        "reduce_sum",
    ]


def test_mobilenet_has_one_transpose_and_no_pad_left(models_dir: Path) -> None:
    found = converted_operators(models_dir / "mobilenet_v2_int8.tflite", "tflite")
    assert found.count("transpose") == 1 and found[0] == "transpose"
    assert "pad" not in found


@pytest.mark.parametrize("name", ["ad01", "kws", "mobilenet_v2", "resnet8", "vww"])
def test_real_models_give_litert_bits(models_dir: Path, name: str) -> None:
    source = (models_dir / f"{name}_int8.tflite").read_bytes()
    rng = np.random.default_rng(0)
    with edgeinfer.load(convert(source).data) as model:
        (info,) = model.inputs
        for _ in range(1 if name == "mobilenet_v2" else 5):
            x = rng.integers(-128, 128, info.shape).astype(np.int8)
            (expected,) = tflite_run.run(source, x)
            np.testing.assert_array_equal(model.run(x), expected)
