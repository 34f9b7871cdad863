"""QuantizeLinear and DequantizeLinear resolved: what is left of them, and what stands between."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeinfer.convert.frontends import read
from edgeinfer.convert.graph import Graph, check_graph
from tests.builders import onnx_qdq_ops as qdq
from tests.builders import onnx_qlinear_ops as qlinear
from tests.builders.onnx_model import MICROSOFT
from tests.builders.spec import Quant, Spec
from tests.convert.onnxruntime_agreement import Chain, fill, stored
from tests.convert.onnxruntime_agreement import check as agree

SHAPE = (1, 8)
X, Y = stored(SHAPE), stored(SHAPE, np.int8, 0.1, -7)
FLOAT = Spec(SHAPE, np.float32)


def graph_of(model: bytes) -> Graph:
    graph = read("onnx", model, "model.onnx")
    check_graph(graph)
    return graph


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def of_type(tensor, spec: Spec) -> bool:
    """Whether a tensor is stored as `spec` says."""
    if spec.quant is None:
        return tensor.dtype == "float32" and tensor.quantization is None
    q = tensor.quantization
    return (
        tensor.dtype == np.dtype(spec.dtype).name
        and np.array_equal(q.scale, spec.quant.scales)
        and np.array_equal(q.zero_point, spec.quant.zero_points)
    )


# --- conversions at the edges


def test_a_float_input_is_quantised_by_a_node() -> None:
    graph = agree(qdq.quantize(FLOAT, Y), fill(FLOAT), steps=1)
    assert operators(graph) == ["quantize"]


def test_a_float_output_is_dequantised_by_a_node() -> None:
    graph = agree(qdq.dequantize(X, FLOAT), fill(X), steps=1e-6)
    assert operators(graph) == ["dequantize"]
    assert of_type(graph.inputs[0], X)


def test_a_pair_with_other_parameters_is_a_requantize() -> None:
    graph = agree(qdq.requantize(X, Y), fill(X), steps=1)
    assert operators(graph) == ["requantize"]


def test_a_pair_with_the_same_parameters_vanishes() -> None:
    c = Chain()
    value = c.requantized(c.input(X), X)
    c.output(c.node("Relu", value), Y)
    assert operators(graph_of(c.build())) == ["relu"]


def test_a_pair_between_input_and_output_is_a_copy_under_two_names() -> None:
    graph = agree(qdq.requantize(X, X), fill(X))
    assert operators(graph) == ["reshape"]
    assert graph.inputs[0].name != graph.outputs[0].name


@pytest.mark.parametrize("domain", ["", MICROSOFT])
def test_conversions_of_either_domain(domain: str) -> None:
    model = onnx.load_model_from_string(qdq.unary("Relu", X, Y))
    for node in model.graph.node:
        if node.op_type.endswith("Linear"):
            node.domain = domain
    assert operators(agree(model.SerializeToString(), fill(X), steps=1)) == ["relu"]


def test_conversions_without_a_zero_point() -> None:
    c = Chain()
    scale = c.builder.constant(np.float32(0.5))
    x = c.builder.input(Spec(SHAPE, np.uint8))
    value = c.node("Relu", c.node("DequantizeLinear", x, scale))
    c.output(c.node("QuantizeLinear", value, scale), Spec(SHAPE, np.uint8))
    graph = agree(c.build(), fill(Spec(SHAPE, np.uint8)))
    assert of_type(graph.outputs[0], stored(SHAPE, np.uint8, 0.5, 0))


# --- operators between conversions


def test_an_operator_between_conversions_is_quantised_on_both_sides() -> None:
    (node,) = graph_of(qdq.unary("Sigmoid", X, Y)).nodes
    assert of_type(node.input(0), X) and of_type(node.output, Y)


def test_tensors_are_called_as_what_quantises_them() -> None:
    graph = graph_of(qdq.unary("Sigmoid", X, Y))
    model = onnx.load_model_from_string(qdq.unary("Sigmoid", X, Y))
    assert graph.outputs[0].name == model.graph.output[0].name
    assert graph.inputs[0].name == model.graph.input[0].name


def test_a_tensor_between_two_operators_may_stay_float() -> None:
    w, y = np.ones((2, 2, 1, 1), np.int8), stored((1, 2, 4, 4), np.int8, 0.2)
    x = stored((1, 2, 4, 4))
    model = qdq.weighted("Conv", x, w, Quant(0.1), None, y, activation="Relu")
    graph = agree(model, fill(x), steps=1)
    assert operators(graph) == ["transpose", "conv2d", "transpose", "relu"]
    assert graph.nodes[1].output.dtype == "float32"
    assert of_type(graph.nodes[3].output, y)


def test_one_conversion_feeds_several_operators() -> None:
    c = Chain()
    value = c.input(X)
    c.output(c.node("Add", c.node("Neg", value), value), Y)
    graph = graph_of(c.build())
    assert operators(graph) == ["neg", "add"]
    assert graph.nodes[0].input(0) is graph.nodes[1].input(1) is graph.inputs[0]


def test_two_equal_quantizes_of_one_tensor_are_one() -> None:
    """onnxruntime's DedicatedQDQPair gives every reader a pair of its own."""
    c = Chain()
    value = c.node("Neg", c.input(X))
    c.output(c.node("Add", c.requantized(value, X), c.requantized(value, X)), Y)
    graph = agree(c.build(), fill(X), steps=1)
    assert operators(graph) == ["neg", "add"]
    assert graph.nodes[1].input(0) is graph.nodes[1].input(1)


def test_two_equal_quantizes_of_an_input_are_one() -> None:
    c = Chain()
    value = c.input(FLOAT)
    c.output(c.node("Add", c.requantized(value, X), c.requantized(value, X)), Y)
    assert operators(agree(c.build(), fill(FLOAT), steps=1)) == ["quantize", "add"]


def test_a_tensor_quantised_in_two_ways_is_two_tensors() -> None:
    c = Chain()
    value = c.node("Neg", c.input(X))
    c.output(value, X)
    c.output(value, Y)
    graph = agree(c.build(), fill(X), steps=1)
    assert operators(graph) == ["neg", "neg"]
    assert of_type(graph.outputs[0], X) and of_type(graph.outputs[1], Y)


def test_a_tensor_read_in_float_too_is_computed_for_both() -> None:
    c = Chain()
    w = c.constant(np.ones((8, 8), np.int8), Quant(0.1))
    value = c.node("MatMul", c.input(X), w)
    c.output(value, Y)
    c.output(c.node("Relu", value), X)
    graph = agree(c.build(), fill(X), steps=1)
    assert operators(graph) == ["fully_connected", "fully_connected", "relu"]


# --- moves


def test_moves_stay_quantised_without_conversions_around() -> None:
    """DequantizeLinear -> Reshape -> Transpose -> MatMul, all in float in the file."""
    c = Chain()
    value = c.node("Reshape", c.input(X), c.builder.constant(np.array([2, 4])))
    value = c.node("Transpose", value)
    w = c.constant(np.ones((2, 3), np.int8), Quant(0.1))
    c.output(c.node("MatMul", value, w), stored((4, 3), np.int8, 0.1))
    graph = agree(c.build(), fill(X), steps=1)
    assert operators(graph) == ["reshape", "transpose", "fully_connected"]
    assert all(of_type(node.input(0), X) for node in graph.nodes)


def test_a_move_to_a_float_output_is_dequantised_behind_it() -> None:
    c = Chain()
    c.output(c.node("Flatten", c.input(X)), FLOAT)
    graph = agree(c.build(), fill(X), steps=1e-6)
    assert operators(graph) == ["reshape", "dequantize"]


def test_a_move_between_other_parameters_is_requantised_behind_it() -> None:
    graph = agree(qdq.unary("Flatten", X, Y), fill(X), steps=1)
    assert operators(graph) == ["reshape", "requantize"]


def test_relu_read_in_float_stays_quantised() -> None:
    """onnxruntime leaves DequantizeLinear -> Relu -> GlobalAveragePool -> QuantizeLinear."""
    c = Chain()
    x = stored((1, 2, 4, 4))
    value = c.node("GlobalAveragePool", c.node("Relu", c.input(x)))
    c.output(value, stored((1, 2, 1, 1), np.int8, 0.04))
    graph = agree(c.build(), fill(x), steps=1)
    assert of_type(graph.nodes[0].output, x)


@pytest.mark.parametrize(("bound", "is_exact"), [(0.5, True), (0.51, False), (1e9, True)])
def test_a_bound_read_in_float_stays_quantised_where_it_is_a_step(bound, is_exact) -> None:
    c = Chain()
    value = c.node("Clip", c.input(X), "", c.constant(np.float32(bound)))
    c.output(c.node("Neg", value), Y)
    graph = graph_of(c.build())
    assert graph.nodes[0].op == "clip"
    assert of_type(graph.nodes[0].output, X) == is_exact


# --- integers


def test_inputs_and_outputs_may_be_integers() -> None:
    graph = agree(qdq.unary("Neg", X, Y), fill(X), steps=1)
    assert of_type(graph.inputs[0], X) and of_type(graph.outputs[0], Y)


def test_integers_read_with_two_scales_are_refused() -> None:
    c = Chain()
    name = c.builder.input(X)
    first = c.builder.dequantize(name, Quant(0.05, 3))
    second = c.builder.dequantize(name, Quant(0.25, 3))
    c.output(c.node("Add", first, second), Y)
    problems = graph_of(c.build()).problems
    assert len(problems) == 1 and "read with scale" in problems[0].reason


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_scales_are_finite_and_above_zero(scale: float) -> None:
    problems = graph_of(qdq.unary("Neg", stored(SHAPE, np.int8, scale), Y)).problems
    assert len(problems) == 1 and "finite and above zero" in problems[0].reason


def test_a_scale_computed_at_run_time_is_refused() -> None:
    c = Chain()
    scale = c.builder.input(Spec((), np.float32))
    value = c.node("DequantizeLinear", c.builder.input(X), scale)
    c.output(c.node("Neg", value), Y)
    problems = graph_of(c.build()).problems
    assert len(problems) == 1 and "scale (tensor" in problems[0].reason


def test_blocks_of_weights_are_refused() -> None:
    c = Chain(21)
    w = c.builder.constant(np.ones((8, 4), np.int8))
    scales = c.builder.constant(np.ones((2, 4), np.float32))
    weights = c.node("DequantizeLinear", w, scales, axis=0, block_size=4)
    c.output(c.node("MatMul", c.input(X), weights), stored((1, 4)))
    problems = graph_of(c.build()).problems
    assert len(problems) == 1 and "in blocks" in problems[0].reason


def test_uint16_activations_are_refused() -> None:
    spec = Spec(SHAPE, np.uint16, Quant(0.001, 30000))
    c = Chain(21)
    c.output(c.node("Neg", c.requantized(c.input(FLOAT), spec)), Y)
    problems = graph_of(c.build()).problems
    assert "UINT16" in problems[0].reason and "int16" in problems[0].advice


# --- operators on integers


def test_qlinear_operators_keep_their_names() -> None:
    model = onnx.load_model_from_string(qlinear.binary("QLinearAdd", X, X, Y))
    model.graph.node[0].name = "sum"
    (node,) = graph_of(model.SerializeToString()).nodes
    assert (node.op, node.name, node.source) == ("add", "sum", "QLinearAdd")


def test_scales_of_qlinear_operators_must_be_constants() -> None:
    model = onnx.load_model_from_string(qlinear.unary("QLinearSigmoid", X, Y))
    scale = model.graph.node[0].input[1]
    (index,) = (i for i, t in enumerate(model.graph.initializer) if t.name == scale)
    del model.graph.initializer[index]
    model.graph.input.append(helper.make_tensor_value_info(scale, onnx.TensorProto.FLOAT, []))
    problems = graph_of(model.SerializeToString()).problems
    assert len(problems) == 1 and "computed at run time" in problems[0].reason


def test_qgemm_may_leave_its_result_in_float() -> None:
    x = stored((2, 6), np.uint8)
    w, quant = np.ones((6, 4), np.int8), Quant(0.01)
    c = Chain()
    b = c.builder
    operands = [b.input(x), *b.quantization(x.quant or quant, np.uint8)]
    operands += [b.constant(w), *b.quantization(quant, np.int8)]
    value = b.node("QGemm", operands, domain=MICROSOFT)
    c.output(value, Spec((2, 4), np.float32))
    (node,) = graph_of(c.build()).nodes
    assert node.output.dtype == "float32"
