"""What the ONNX frontend reads, what it forgives, and what it says about the rest."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.convert import check
from edgeinfer.convert.frontends import FORMATS, read
from edgeinfer.convert.graph import Graph, Problem, check_graph
from edgeinfer.errors import ConversionError, MissingExtraError
from tests.builders import onnx_qdq_ops as qdq
from tests.builders import onnx_qlinear_ops as qlinear
from tests.builders.onnx_model import MICROSOFT
from tests.builders.spec import Quant, Spec
from tests.convert.onnxruntime_agreement import Chain, fill, stored
from tests.convert.onnxruntime_agreement import check as agree

X = stored((1, 4), np.int8, 0.5, 0)
W_SCALE = 0.25


def graph_of(model: bytes) -> Graph:
    graph = read("onnx", model, "model.onnx")
    check_graph(graph)
    return graph


def only_problem(model: bytes) -> Problem:
    (problem,) = graph_of(model).problems
    return problem


def refuse(model: bytes, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        read("onnx", model, "model.onnx")


def info(name: str, shape: Sequence[Any], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of hand-made nodes."""
    initializers = [
        numpy_helper.from_array(np.asarray(v), name) for name, v in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def gemm(weights: np.ndarray | None = None, quant: Quant | None = None, bias: Any = None) -> bytes:
    """x [1, 4] by [3, 4] (transB), whose weights and bias a test chooses."""
    c = Chain()
    w = np.arange(-6, 6, dtype=np.int8).reshape(3, 4) if weights is None else weights
    inputs = [c.input(X), c.constant(w, quant or Quant(W_SCALE))]
    if bias is not None:
        inputs.append(c.constant(*bias))
    c.output(c.node("Gemm", *inputs, transB=1), stored((1, 3), np.int8, 1.0, 0))
    return c.build()


# --- the file


def test_formats_name_their_module() -> None:
    assert FORMATS["onnx"].suffix == ".onnx"


def test_the_example_has_no_problems(digits_dir) -> None:
    graph = graph_of((digits_dir / "digits_int8.onnx").read_bytes())
    assert graph.problems == []
    assert [t.name for t in graph.inputs + graph.outputs] == ["image", "logits"]
    assert {node.op for node in graph.nodes} == {
        "add",
        "conv2d",
        "depthwise_conv2d",
        "dequantize",
        "fully_connected",
        "max_pool2d",
        "mean",
        "quantize",
        "reshape",
        "transpose",
    }


def test_what_the_file_says_of_itself() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = model_of(nodes, [info("x", [2])], [info("y", [2])])
    model.producer_name, model.producer_version = "maker", "1.2"
    model.doc_string = " " + "words " * 1000
    metadata = graph_of(model.SerializeToString()).metadata
    assert metadata["producer"] == "maker 1.2"
    assert metadata["opset"] == {"ai.onnx": 17, MICROSOFT: 1}
    assert metadata["ir_version"] == 8
    assert metadata["description"].startswith("words") and len(metadata["description"]) == 1000


def test_nodes_are_called_as_in_the_file_or_as_their_output() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="turn"),
        helper.make_node("Flatten", ["t"], ["y"]),
    ]
    model = model_of(nodes, [info("x", [2, 3])], [info("y", [3, 2])])
    graph = graph_of(model.SerializeToString())
    assert [(node.name, node.source) for node in graph.nodes] == [
        ("turn", "Transpose"),
        ("y", "Flatten"),
    ]
    assert graph.source_format == "onnx"


def test_the_onnx_package_is_named_when_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"edgeinfer\[convert\]"):
        read("onnx", b"", "model.onnx")


@pytest.mark.parametrize("dim", ["batch", None])
def test_an_open_shape_is_refused_with_advice(dim: str | None) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = model_of(nodes, [info("x", [dim, 3])], [info("y", [dim, 3])])
    with pytest.raises(ConversionError, match="not fixed") as caught:
        read("onnx", model.SerializeToString(), "model.onnx")
    (problem,) = caught.value.problems
    assert problem.node == "x"
    assert f"[{dim or '?'}, 3]" in problem.reason
    assert "--shape x=" in problem.advice


def test_an_old_operator_set_is_refused_with_advice() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = model_of(nodes, [info("x", [2])], [info("y", [2])], opset=6)
    refuse(model.SerializeToString(), "operator set 6.*version_converter")


def test_local_functions_are_read_in_their_place() -> None:
    body = [helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0])]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Turn", ["a"], ["b"], body, imports[:1])
    nodes = [helper.make_node("Turn", ["x"], ["y"], domain="mine")]
    graph = helper.make_graph(nodes, "graph", [info("x", [2, 3])], [info("y", [3, 2])])
    model = helper.make_model(graph, functions=[function], opset_imports=imports, ir_version=8)
    assert [node.op for node in graph_of(model.SerializeToString()).nodes] == ["transpose"]


# --- operands


@pytest.mark.parametrize("zero_point", [0, 100, 140])
def test_weights_with_a_zero_point_are_taken_where_they_fit_int8(zero_point: int) -> None:
    w = (np.arange(-6, 6).reshape(3, 4) + zero_point).clip(0, 255).astype(np.uint8)
    (node,) = graph_of(gemm(w, Quant(W_SCALE, zero_point))).nodes
    weights = node.input(1)
    assert weights.dtype == "int8" and weights.data is not None
    np.testing.assert_array_equal(weights.data, w.astype(int) - zero_point)


def test_weights_that_do_not_fit_int8_are_refused_with_advice() -> None:
    w = np.array([[0, 255, 1, 2]] * 3, np.uint8)
    problem = only_problem(gemm(w, Quant(W_SCALE, 100)))
    assert "asymmetric uint8 (zero point 100)" in problem.reason
    assert "WeightSymmetric" in problem.advice


def test_scales_along_another_axis_are_refused() -> None:
    problem = only_problem(gemm(quant=Quant((0.1, 0.2, 0.3, 0.4), 0, 1)))
    assert "each of 4 along axis 1" in problem.reason


BIASES = {
    "as stored": ((np.array([100, -200, 300], np.int32), Quant(0.125)), [100, -200, 300]),
    "another scale": ((np.array([1, -2, 3], np.int32), Quant(12.5)), [100, -200, 300]),
    "scales that round": ((np.array([1, 2, 3], np.int32), Quant(0.1250001)), [1, 2, 3]),
    "float": ((np.array([12.5, -0.1875, 0.3125], np.float32),), [100, -2, 2]),
    "one value": ((np.array([8], np.float32),), [64, 64, 64]),
    "int8": ((np.array([4, -4, 0], np.int8), Quant(0.5)), [16, -16, 0]),
}


@pytest.mark.parametrize("name", BIASES)
def test_a_bias_is_brought_to_the_scale_of_the_accumulator(name: str) -> None:
    given, expected = BIASES[name]
    (node,) = graph_of(gemm(bias=given)).nodes
    bias = node.input(2)
    assert bias.dtype == "int32" and bias.data is not None and bias.quantization is not None
    np.testing.assert_array_equal(bias.data, expected)
    np.testing.assert_array_equal(bias.quantization.scale, [0.125])


def test_a_bias_for_int16_activations_is_int64() -> None:
    x = Spec((1, 4), np.int16, Quant(0.5))
    w, quant = np.ones((4, 3), np.int8), Quant(W_SCALE)
    c = Chain(21)
    bias = c.constant(np.array([1, 2, 3], np.float32))
    value = c.node("Gemm", c.input(x), c.constant(w, quant), bias)
    c.output(value, Spec((1, 3), np.int16, Quant(0.01)))
    (node,) = graph_of(c.build()).nodes
    assert node.input(2).dtype == "int64"


def test_a_bias_beyond_the_accumulator_is_refused() -> None:
    problem = only_problem(gemm(bias=(np.array([1e9, 0, 0], np.float32),)))
    assert "does not fit int32 at scale s_x * s_w" in problem.reason


def test_weights_in_the_layouts_of_the_graph() -> None:
    rng = np.random.default_rng(0)
    x = stored((1, 4, 8, 8))

    def taps(operator: str, shape: tuple[int, ...], **attrs: Any) -> tuple[np.ndarray, Any]:
        w = rng.integers(-127, 128, shape).astype(np.int8)
        y = stored([None] * 4, np.int8, 0.2)
        graph = graph_of(qdq.weighted(operator, x, w, Quant(0.1), None, y, **attrs))
        (node,) = (n for n in graph.nodes if "conv" in n.op)
        return w, node.input(1).data

    w, made = taps("Conv", (6, 4, 3, 2))
    np.testing.assert_array_equal(made, w.transpose(0, 2, 3, 1))
    w, made = taps("Conv", (6, 2, 3, 2), group=2)
    np.testing.assert_array_equal(made, w.transpose(0, 2, 3, 1))
    w, made = taps("Conv", (8, 1, 3, 2), group=4)
    np.testing.assert_array_equal(made, w[:, 0].transpose(1, 2, 0))
    w, made = taps("ConvTranspose", (4, 6, 3, 2))
    np.testing.assert_array_equal(made, w.transpose(1, 2, 3, 0))
    w, made = taps("ConvTranspose", (4, 3, 3, 2), group=2)
    np.testing.assert_array_equal(made[:3], w[:2].transpose(1, 2, 3, 0))
    np.testing.assert_array_equal(made[3:], w[2:].transpose(1, 2, 3, 0))


# --- constants


def test_shape_arithmetic_is_evaluated() -> None:
    """What exporters make of x.view(x.shape[0], -1)."""
    c = Chain()
    b = c.builder
    x = stored((2, 3, 4))
    value = c.input(x)
    size = b.node("Shape", [value])
    batch = b.node("Gather", [size, b.constant(np.array(0))], axis=0)
    batch = b.node("Unsqueeze", [batch, b.constant(np.array([0]))])
    shape = b.node("Concat", [batch, b.constant(np.array([-1]))], axis=0)
    c.output(c.node("Reshape", value, shape), stored((2, 12)))
    graph = agree(c.build(), fill(x))
    assert [node.op for node in graph.nodes] == ["reshape"]


def test_constant_nodes_and_rearranged_weights_stay_quantised() -> None:
    w = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    scales = Quant((0.1, 0.2, 0.3), 0, 0)
    c = Chain()
    real = c.constant(w.reshape(3, 2, 2), scales)
    flat = c.node("Reshape", real, c.builder.constant(np.array([3, 4])))
    value = c.node("MatMul", c.input(X), c.node("Transpose", flat))
    c.output(value, stored((1, 3), np.int8, 1.0, 0))
    (node,) = agree(c.build(), fill(X), steps=1).nodes
    assert node.op == "fully_connected" and node.input(1).dtype == "int8"
    np.testing.assert_array_equal(node.input(1).data, w)


def test_float_weights_through_their_own_conversions() -> None:
    """Quantisation-aware training leaves QuantizeLinear on the weights in the file."""
    w = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    c = Chain()
    quant = Quant(1 / 127)
    weights = c.requantized(c.constant(w), Spec(w.shape, np.int8, quant))
    c.output(c.node("MatMul", c.input(X), weights), stored((1, 3), np.int8, 0.1, 0))
    (node,) = agree(c.build(), fill(X), steps=1).nodes
    np.testing.assert_array_equal(node.input(1).data, np.rint(w * 127).astype(np.int8).T)


def test_int4_weights_are_widened() -> None:
    w = helper.make_tensor("w", TensorProto.INT4, [4, 3], [-8, 7, 0, 1, 2, 3, -1, -2, -3, 4, 5, 6])
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["wr"]),
        helper.make_node("MatMul", ["x", "wr"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "s", "z"], ["r"]),
    ]
    model = model_of(
        nodes,
        [info("q", [1, 4], TensorProto.INT8)],
        [info("r", [1, 3], TensorProto.INT8)],
        {"s": np.float32(0.5), "z": np.int8(0)},
        opset=21,
    )
    model.ir_version = 10
    model.graph.initializer.append(w)
    (node,) = graph_of(model.SerializeToString()).nodes
    expected = np.array([-8, 7, 0, 1, 2, 3, -1, -2, -3, 4, 5, 6]).reshape(4, 3).T
    np.testing.assert_array_equal(node.input(1).data, expected)


def test_huge_constants_are_not_computed() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["n"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    model = model_of(nodes, [info("x", [1])], [info("y", [1 << 40])], {"n": np.array([1 << 40])})
    problems = graph_of(model.SerializeToString()).problems
    assert "more than 256 MiB" in problems[0].reason


# --- refusals


def test_a_float_model_is_read_whole(digits_dir) -> None:
    graph = graph_of((digits_dir / "digits_float.onnx").read_bytes())
    assert graph.problems == []
    assert [node.op for node in graph.nodes].count("conv2d") + [
        node.op for node in graph.nodes
    ].count("depthwise_conv2d") == 7
    assert all(tensor.quantization is None for tensor in graph.tensors())


def test_a_float_model_that_only_moves_has_no_problems() -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["y"])]
    model = model_of(nodes, [info("x", [2, 3])], [info("y", [3, 2])])
    assert graph_of(model.SerializeToString()).problems == []


def test_a_float_operator_in_a_quantised_model_runs_in_float() -> None:
    c = Chain()
    c.output(c.node("Add", c.input(X), c.input(X)), Spec((1, 4), np.float32))
    assert graph_of(c.build()).problems == []
    assert check(c.build()) == []


UNSUPPORTED = [
    ("DynamicQuantizeLSTM", MICROSOFT, "dynamic quantisation", "quantize_static"),
    ("MatMulIntegerToFloat", MICROSOFT, "dynamic quantisation", "quantize_static"),
    ("QLinearWhere", MICROSOFT, "by a condition", ""),
    ("NhwcMaxPool", MICROSOFT, "optimiser made", "before onnxruntime optimised"),
    ("LSTM", "", "recurrent", ""),
    ("Det", "", "not available", "replace it"),
    ("Thing", "theirs", "domain 'theirs'", "operators of ONNX itself"),
]


@pytest.mark.parametrize(("operator", "domain", "reason", "advice"), UNSUPPORTED)
def test_operators_without_a_handler(operator, domain, reason, advice) -> None:
    from edgeinfer.convert.frontends.onnx.model_file import SourceNode
    from edgeinfer.convert.frontends.onnx.refusals import refusal

    node = SourceNode(operator, domain, ("x",), ("y",), {}, 17, "n", operator)
    error = refusal(node)
    assert reason in error.reason and advice in error.advice


def test_every_problem_is_found_at_once() -> None:
    c = Chain()
    value = c.node("Det", c.input(stored((1, 4, 4))))
    value = c.node("Thing", value, domain="theirs")
    value = c.node("Relu", value)  # whose shape nothing tells
    value = c.node("Multinomial", value)
    c.output(value, stored((1,)))
    model = onnx.load_model_from_string(c.build())
    model.opset_import.append(helper.make_opsetid("theirs", 1))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    graph = graph_of(model.SerializeToString())
    assert [p.operator for p in graph.problems] == ["Det", "Thing", "Multinomial"]
    assert [n.source for n in graph.nodes if n.op == "unsupported"][:3] == [
        "Det",
        "Thing",
        "Relu",
    ]


def test_shapes_behind_an_unsupported_node_are_those_of_the_file() -> None:
    c = Chain()
    value = c.requantized(c.node("Det", c.input(stored((3, 4, 4)))), stored((3,)))
    c.output(c.node("Relu", value), stored((3,)))
    graph = graph_of(c.build())
    assert [node.op for node in graph.nodes] == ["unsupported", "quantize", "relu"]
    assert graph.nodes[0].output.shape == (3,)


@pytest.mark.parametrize("kind", [TensorProto.UINT16, TensorProto.DOUBLE, TensorProto.STRING])
def test_inputs_of_other_types_are_refused(kind: int) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = model_of(nodes, [info("x", [2], kind)], [info("y", [2], kind)])
    problem = only_problem(model.SerializeToString())
    assert problem.node == "x" and problem.operator == "input"
    assert TensorProto.DataType.Name(kind) in problem.reason


def test_channels_last_operators_are_refused() -> None:
    x, y = stored((1, 4, 4, 2), np.uint8), stored((1, 2, 2, 2), np.uint8)
    model = qlinear.unary(
        "QLinearAveragePool", x, y, kernel_shape=[2, 2], strides=[2, 2], channels_last=1
    )
    assert "channels-last" in only_problem(model).reason


REFUSED = [
    ("Resize", [None, np.array([1, 1, 2, 2], np.float32)], {"mode": "cubic"}, "mode 'cubic'"),
    (
        "Resize",
        [None, np.array([1, 1, 2, 2], np.float32)],
        {"coordinate_transformation_mode": "tf_crop_and_resize"},
        "'tf_crop_and_resize' is not available",
    ),
    ("Resize", [None, np.array([1, 2, 2, 2], np.float32)], {}, "only images are resized"),
    ("AveragePool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}, "dilations"),
    ("Cast", [], {"to": TensorProto.DOUBLE}, "casts FLOAT to DOUBLE"),
    ("Dropout", [np.float32(0.5), np.array(True)], {}, "training mode"),
    ("Slice", [np.array([0]), np.array([0]), np.array([3])], {}, r"shape \[1, 2, 4, 0\]"),
]


@pytest.mark.parametrize(("operator", "constants", "attrs", "reason"), REFUSED)
def test_what_an_operator_cannot_do(operator, constants, attrs, reason) -> None:
    opset = 19 if operator in ("AveragePool", "Pad") else 17
    if operator == "Cast":
        nodes = [
            helper.make_node("DequantizeLinear", ["q", "s"], ["x"]),
            helper.make_node("Cast", ["x"], ["y"], **attrs),
        ]
        model = model_of(
            nodes,
            [info("q", [2], TensorProto.INT8)],
            [info("y", [2], attrs["to"])],
            {"s": np.float32(1)},
        ).SerializeToString()
    else:
        model = qdq.unary(
            operator,
            stored((1, 2, 4, 4)),
            stored([None] * 4),
            constants=constants,
            opset=opset,
            **attrs,
        )
    graph = graph_of(model)
    assert len(graph.problems) == 1
    assert re.search(reason, graph.problems[0].reason), graph.problems[0]
