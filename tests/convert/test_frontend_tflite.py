"""What the TFLite frontend reads, what it forgives, and what it says about the rest."""

from __future__ import annotations

import io
import sys
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.convert.frontends import FORMATS, read
from edgeinfer.convert.frontends.tflite import HANDLERS
from edgeinfer.convert.frontends.tflite.labels import read_labels
from edgeinfer.convert.graph import Graph, Problem, check_graph
from edgeinfer.errors import MissingExtraError
from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders import tflite_shape_ops as shape_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_edit import edited
from tests.builders.tflite_model import ModelBuilder
from tests.convert.litert_agreement import int8

X_SCALE, W_SCALE = 0.5, 0.25


def graph_of(model: bytes) -> Graph:
    graph = read("tflite", model, "model.tflite")
    check_graph(graph)
    return graph


def only_problem(model: bytes) -> Problem:
    (problem,) = graph_of(model).problems
    return problem


def dense(
    weights_quant: Quant | None = None,
    bias_quant: Quant | None = None,
    *,
    x_dtype: type = np.int8,
    bias: np.ndarray | None = None,
    activation: int = 0,
) -> bytes:
    """FULLY_CONNECTED of 4 by [3, 4], whose quantisation a test chooses."""
    b = ModelBuilder()
    xi = b.tensor(Spec((1, 4), x_dtype, Quant(X_SCALE, 0)), "x")
    w = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    wi = b.constant(w, weights_quant or Quant(W_SCALE), "w")
    values = np.array([100, -200, 300], np.int32) if bias is None else bias
    bi = b.constant(values, bias_quant, "b")
    yi = b.tensor(Spec((1, 3), x_dtype, Quant(1.0, 0)), "y")
    options = schema.FullyConnectedOptionsT(fusedActivationFunction=activation)
    b.operator("FULLY_CONNECTED", [xi, wi, bi], [yi], options)
    return b.build([xi], [yi])


def test_formats_name_their_modules() -> None:
    assert FORMATS["tflite"].suffix == ".tflite"


def test_a_node_is_called_as_its_output() -> None:
    graph = graph_of(dense())
    (node,) = graph.nodes
    assert (node.name, node.source, node.op) == ("y", "FULLY_CONNECTED", "fully_connected")
    assert [t.name for t in graph.inputs + graph.outputs] == ["x", "y"]
    assert graph.source_format == "tflite"
    assert graph.metadata["description"] == "edgeinfer test model"


def test_names_are_kept_and_made_unique() -> None:
    b = ModelBuilder()
    xi, mi, yi = (b.tensor(int8((1, 4)), "same") for _ in range(3))
    b.operator("RELU", [xi], [mi])
    b.operator("RELU", [mi], [yi])

    def nameless(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[2].name = None

    graph = graph_of(edited(b.build([xi], [yi]), nameless))
    assert [t.name for t in graph.tensors()] == ["same", "same#1", "tensor_2"]


# --- what is read for what it means


def test_bias_without_scale_is_at_the_product_of_scales() -> None:
    bias = graph_of(dense()).nodes[0].input(2)
    assert bias.quantization is not None
    assert bias.quantization.scale.tolist() == [X_SCALE * W_SCALE]
    assert bias.data is not None and bias.data.tolist() == [100, -200, 300]


def test_bias_scale_off_by_rounding_changes_nothing() -> None:
    close = Quant(float(np.nextafter(np.float32(X_SCALE * W_SCALE), np.float32(1))))
    bias = graph_of(dense(bias_quant=close)).nodes[0].input(2)
    assert bias.data is not None and bias.data.tolist() == [100, -200, 300]


def test_bias_at_another_scale_is_brought_to_the_product() -> None:
    bias = graph_of(dense(bias_quant=Quant(X_SCALE * W_SCALE * 2.5))).nodes[0].input(2)
    assert bias.data is not None and bias.data.tolist() == [250, -500, 750]


def test_bias_that_does_not_fit_is_refused() -> None:
    problem = only_problem(dense(bias_quant=Quant(1e9)))
    assert "does not fit int32" in problem.reason


def test_bias_axis_out_of_range_is_ignored() -> None:
    per_channel = Quant((0.25, 0.5, 0.75))
    bias_quant = Quant(tuple(X_SCALE * s for s in (0.25, 0.5, 0.75)), 0, axis=7)
    bias = graph_of(dense(per_channel, bias_quant)).nodes[0].input(2)
    assert bias.quantization is not None
    assert bias.quantization.scale.tolist() == [0.125, 0.25, 0.375]
    assert bias.data is not None and bias.data.tolist() == [100, -200, 300]


def test_int32_bias_of_int16_activations_becomes_int64() -> None:
    bias = graph_of(dense(x_dtype=np.int16)).nodes[0].input(2)
    assert bias.dtype == "int64"
    assert bias.data is not None and bias.data.tolist() == [100, -200, 300]


def conv(w: np.ndarray, quant: Quant, *, depthwise: bool, with_bias: bool = False) -> bytes:
    x = Spec((1, 3, 3, 2), np.int8, Quant(X_SCALE, 1))
    bias = np.zeros(4, np.int32) if with_bias else None
    make = matmul_models.depthwise_conv_2d if depthwise else matmul_models.conv_2d
    return make(x, w, quant, bias, int8((1, 3, 3, 4)))


@pytest.mark.parametrize("stored_axis", [0, 3, 9])
def test_channel_axis_of_weights_follows_from_the_operator(stored_axis: int) -> None:
    scales = (0.1, 0.2, 0.3, 0.4)
    model = conv(np.zeros((1, 1, 1, 4), np.int8), Quant(scales, 0, stored_axis), depthwise=True)
    w = graph_of(model).nodes[0].input(1)
    assert w.shape == (1, 1, 4)
    assert w.quantization is not None and w.quantization.axis == 2
    model = conv(np.zeros((4, 1, 1, 2), np.int8), Quant(scales, 0, stored_axis), depthwise=False)
    w = graph_of(model).nodes[0].input(1)
    assert w.quantization is not None and w.quantization.axis == 0
    assert np.array_equal(w.quantization.scale, np.asarray(scales, np.float32))


def test_one_zero_point_stands_for_every_channel() -> None:
    def shorten(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[1].quantization.zeroPoint = [0]

    graph = graph_of(edited(dense(Quant((0.1, 0.2, 0.3))), shorten))
    w = graph.nodes[0].input(1)
    assert w.quantization is not None and w.quantization.zero_point.tolist() == [0, 0, 0]
    assert graph.problems == []


def test_convolution_may_lack_a_bias() -> None:
    w = np.zeros((4, 1, 1, 2), np.int8)
    (node,) = graph_of(conv(w, Quant(0.1), depthwise=False)).nodes
    assert node.inputs[2] is None
    (node,) = graph_of(conv(w, Quant(0.1), depthwise=False, with_bias=True)).nodes
    assert node.inputs[2] is not None


def test_equal_scales_of_an_activation_are_one() -> None:
    def repeat(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].quantization.scale = [X_SCALE] * 4
        model.subgraphs[0].tensors[0].quantization.zeroPoint = [0]

    (x,) = graph_of(edited(dense(), repeat)).inputs
    assert x.quantization is not None and x.quantization.is_per_tensor


@pytest.mark.parametrize("field", ["deprecatedBuiltinCode", "builtinCode"])
def test_either_field_names_an_operator(field: str) -> None:
    def forget(model: schema.ModelT) -> None:
        setattr(model.operatorCodes[0], field, 0)

    assert graph_of(edited(dense(), forget)).nodes[0].op == "fully_connected"


def test_operators_and_tensors_that_no_output_needs_are_not_looked_at() -> None:
    b = ModelBuilder()
    xi, yi, zi = b.tensor(int8((1, 4)), "x"), b.tensor(int8((1, 4)), "y"), b.tensor(int8((1, 4)))
    odd = b.constant(np.zeros(4, np.int8), name="odd")
    b.operator("RELU", [xi], [yi])
    b.operator("CUSTOM", [xi, odd], [zi])
    b.operator("EXP", [odd], [b.tensor(Spec((4,), np.float32))])

    def break_unused(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[odd].shape = [17]

    graph = graph_of(edited(b.build([xi], [yi]), break_unused))
    assert graph.problems == []
    assert [node.op for node in graph.nodes] == ["relu"]


def test_open_batch_has_the_stored_shape() -> None:
    def open_batch(model: schema.ModelT) -> None:
        for i in (0, 3):
            model.subgraphs[0].tensors[i].shapeSignature = [-1, 4]

    graph = graph_of(edited(dense(), open_batch))
    assert graph.problems == [] and graph.inputs[0].shape == (1, 4)


def test_stale_shapes_in_between_are_worked_out_again() -> None:
    b = ModelBuilder()
    xi, mi, yi = b.tensor(int8((2, 8))), b.tensor(int8((1, 8))), b.tensor(int8((1, 8)))
    b.operator("RELU", [xi], [mi])
    b.operator("RELU", [mi], [yi])
    graph = graph_of(b.build([xi], [yi]))
    assert graph.outputs[0].shape == (2, 8)


def test_output_of_a_move_without_scale_has_that_of_its_input() -> None:
    (node,) = graph_of(shape_models.reshape(int8((2, 3)), Spec((6,), np.int8))).nodes
    assert node.input(0).quantization is not None
    assert node.input(0).quantization.same_as(node.output.quantization)


def test_int4_weights_are_widened() -> None:
    def pack(model: schema.ModelT) -> None:
        tensor = model.subgraphs[0].tensors[1]
        tensor.type = schema.TensorType.INT4
        values = np.array([-8, -1, 0, 7, 1, 2, 3, 4, 5, 6, -7, -2], np.int8) & 15
        model.buffers[tensor.buffer].data = (values[::2] | values[1::2] << 4).astype(np.uint8)

    w = graph_of(edited(dense(), pack)).nodes[0].input(1)
    assert w.dtype == "int8" and w.data is not None
    assert w.data.tolist() == [[-8, -1, 0, 7], [1, 2, 3, 4], [5, 6, -7, -2]]


def test_constants_are_dequantized_and_quantized_at_conversion() -> None:
    b = ModelBuilder()
    x, q = int8((1, 4), 0.5, 0), Quant(0.25, 10)
    xi, ci = b.tensor(x), b.constant(np.array([[1, 2, 3, 4]], np.int8), Quant(0.5, 1))
    fi, qi = b.tensor(Spec((1, 4), np.float32)), b.tensor(Spec((1, 4), np.int8, q))
    b.operator("DEQUANTIZE", [ci], [fi])
    b.operator("QUANTIZE", [fi], [qi])
    yi = b.tensor(x)
    b.operator("ADD", [xi, qi], [yi], schema.AddOptionsT())
    (node,) = graph_of(b.build([xi], [yi])).nodes
    constant = node.input(1)
    assert node.op == "add" and constant.data is not None
    assert constant.data.tolist() == [[10, 12, 14, 16]]


def test_a_buffer_may_lie_behind_the_flatbuffer() -> None:
    def move_out(model: schema.ModelT) -> None:
        buffer = model.buffers[model.subgraphs[0].tensors[1].buffer]
        buffer.data, buffer.offset, buffer.size = None, 1 << 20, 12

    short = edited(dense(), move_out)
    weights = np.arange(12, dtype=np.int8)
    model = short + bytes((1 << 20) - len(short)) + weights.tobytes()
    w = graph_of(model).nodes[0].input(1)
    assert w.data is not None and w.data.reshape(-1).tolist() == weights.tolist()


@pytest.mark.parametrize(
    ("code", "activation"), [(0, None), (1, "relu"), (2, "relu_n1_to_1"), (3, "relu6")]
)
def test_fused_activation(code: int, activation: str | None) -> None:
    assert graph_of(dense(activation=code)).nodes[0].activation == activation


# --- what the file says about itself


def test_signatures_are_metadata() -> None:
    def sign(model: schema.ModelT) -> None:
        entries = [schema.TensorMapT(name=n, tensorIndex=i) for n, i in (("image", 0), ("out", 3))]
        model.signatureDefs = [
            schema.SignatureDefT(
                inputs=entries[:1], outputs=entries[1:], signatureKey="serving_default"
            )
        ]

    graph = graph_of(edited(dense(), sign))
    assert graph.metadata["signatures"] == {
        "serving_default": {"inputs": {"image": "x"}, "outputs": {"out": "y"}}
    }
    assert graph.inputs[0].name == "x"


def test_runtime_version_is_metadata() -> None:
    def stamp(model: schema.ModelT) -> None:
        model.buffers.append(schema.BufferT(data=np.frombuffer(b"2.3.0" + bytes(11), np.uint8)))
        entry = schema.MetadataT(name="min_runtime_version", buffer=len(model.buffers) - 1)
        model.metadata = [entry]

    assert graph_of(edited(dense(), stamp)).metadata["min_runtime_version"] == "2.3.0"


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_appended_labels_are_metadata() -> None:
    labels = zipped({"labels.txt": "cat\nKühe\n".encode(), "vocabulary.bin": b"\0"})
    graph = graph_of(dense() + labels)
    assert graph.metadata["labels"] == {"labels.txt": ["cat", "Kühe"]}


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(zipped({"labels.txt": b"\xff\xfe"}), id="not UTF-8"),
        pytest.param(zipped({"labels.txt": bytes(1 << 22)}), id="unpacks to megabytes"),
        pytest.param(zipped({"labels.txt": b"cat\n" * 99})[:-30], id="cut"),
        pytest.param(zipped({"labels.txt": b"cat\n" * 99}).replace(b"PK\1\2", b"PK\1\3"), id="bad"),
    ],
)
def test_labels_that_cannot_be_read_are_left_out(archive: bytes) -> None:
    assert read_labels(dense() + archive) == {}


@settings(max_examples=200)
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1))
def test_any_appended_archive_leaves_the_network_readable(changes) -> None:
    archive = bytearray(zipped({"labels.txt": b"cat\n" * 9, "more.txt": b"dog"}))
    for position, value in changes:
        archive[position % len(archive)] = value
    assert graph_of(dense() + bytes(archive)).problems == []


# --- what cannot be converted


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeinfer\[convert\]'"):
        read("tflite", dense(), "model.tflite")


def test_asymmetric_weights_are_refused() -> None:
    x, y = Spec((1, 4), np.uint8, Quant(0.5, 128)), Spec((1, 3), np.uint8, Quant(1.0, 0))
    w = np.zeros((3, 4), np.uint8)
    problem = only_problem(matmul_models.fully_connected(x, w, Quant(0.1, 117), None, y))
    assert problem.reason == "its weights are asymmetric uint8 (zero point 117)"
    assert "convert the original model again" in problem.advice


def test_every_problem_is_found_in_one_go() -> None:
    b = ModelBuilder()
    x = int8((1, 4))
    tensors = [b.tensor(x, f"t{i}") for i in range(6)]
    b.operator("CUSTOM", [tensors[0]], [tensors[1]])
    b.operator("RELU", [tensors[1]], [tensors[2]])
    b.operator("DIV", [tensors[2], tensors[0]], [tensors[3]], schema.DivOptionsT())
    b.operator("ADD", [tensors[3]] * 2, [tensors[4]], schema.AddOptionsT(fusedActivationFunction=4))
    b.operator("WHILE", [tensors[4]], [tensors[5]], schema.WhileOptionsT())

    def name_custom(model: schema.ModelT) -> None:
        model.operatorCodes[0].customCode = "Magic"
        model.subgraphs.append(schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[]))

    graph = graph_of(edited(b.build([tensors[0]], [tensors[5]]), name_custom))
    found = [(p.node, p.operator) for p in graph.problems]
    assert found == [
        ("model.tflite", "SUBGRAPH"),
        ("t1", "Magic"),
        ("t3", "DIV"),
        ("t4", "ADD"),
        ("t5", "WHILE"),
    ]
    assert all(problem.advice for problem in graph.problems if problem.operator != "ADD")
    reasons = [problem.reason for problem in graph.problems]
    assert "'Magic'" in reasons[1] and "division" in reasons[2]
    assert "fused TANH" in reasons[3] and "control flow" in reasons[4]
    assert [node.op for node in graph.nodes] == [
        "unsupported",
        "relu",
        "unsupported",
        "unsupported",
        "unsupported",
    ]


def set_field(index: int, **fields: object):
    def change(model: schema.ModelT) -> None:
        for name, value in fields.items():
            setattr(model.subgraphs[0].tensors[index], name, value)

    return change


@pytest.mark.parametrize(
    ("change", "node", "reason"),
    [
        (set_field(0, shapeSignature=[1, -1]), "x", "not fixed"),
        (set_field(0, isVariable=True), "x", "variable"),
        (set_field(1, sparsity=schema.SparsityParametersT()), "y", "sparse"),
        (set_field(3, type=schema.TensorType.STRING), "y", "element type STRING"),
        (set_field(3, type=schema.TensorType.INT16), "y", "its output int16"),
        (set_field(3, type=schema.TensorType.FLOAT32), "y", "its output float32"),
        (set_field(3, quantization=None), "y", "has no scale"),
        (set_field(1, quantization=None), "y", "have no scale"),
        (set_field(2, type=schema.TensorType.FLOAT32), "y", "bias is float32"),
        (set_field(2, shape=[1, 3, 1, 1, 1, 1, 1]), "y", "7 axes"),
    ],
)
def test_a_tensor_that_cannot_be_used_is_named(change, node: str, reason: str) -> None:
    problems = graph_of(edited(dense(), change)).problems
    assert any(p.node == node and reason in p.reason for p in problems), problems


@pytest.mark.parametrize(
    ("quant", "reason"),
    [
        (Quant(0.0), "scale 0.0"),
        (Quant(float("nan")), "scale nan"),
        (Quant(-0.5), "scale -0.5"),
        (Quant((0.1, 0.2)), "2 scales for 3 channels"),
        (Quant(0.1, 1), "asymmetric int8"),
        (Quant(0.1, 1000), "not int8"),
    ],
)
def test_weights_with_an_odd_scale_are_refused(quant: Quant, reason: str) -> None:
    assert reason in only_problem(dense(quant)).reason


def test_an_operand_that_must_be_constant_is_named() -> None:
    b = ModelBuilder()
    xi, si = b.tensor(int8((2, 3)), "x"), b.tensor(Spec((1,), np.int32), "size")
    yi = b.tensor(int8((6,)), "y")
    b.operator("RESHAPE", [xi, si], [yi], schema.ReshapeOptionsT())
    problem = only_problem(b.build([xi, si], [yi]))
    assert problem.reason == "its shape (tensor 'size') is computed at run time"


def test_constants_may_not_grow_without_bound() -> None:
    b = ModelBuilder()
    xi, ci = b.tensor(int8((4,))), b.constant(np.zeros(1, np.int8), Quant(0.05, 3))
    mi = b.constant(np.array([1 << 30], np.int32))
    ti, yi = b.tensor(int8((1 << 30,)), "tiled"), b.tensor(int8((4,)))
    b.operator("TILE", [ci, mi], [ti])
    b.operator("ADD", [xi, ti], [yi], schema.AddOptionsT())
    problems = graph_of(b.build([xi], [yi])).problems
    assert problems[0].node == "tiled" and "256 MiB" in problems[0].reason


def test_state_is_refused_though_no_output_depends_on_it() -> None:
    b = ModelBuilder()
    xi, yi = b.tensor(int8((4,)), "x"), b.tensor(int8((4,)), "y")
    b.operator("RELU", [xi], [yi])
    b.operator("ASSIGN_VARIABLE", [xi, xi], [])
    problem = only_problem(b.build([xi], [yi]))
    assert problem.operator == "ASSIGN_VARIABLE" and "state" in problem.reason


def test_every_handler_is_an_operator_of_the_schema() -> None:
    assert [code for code in HANDLERS if not hasattr(schema.BuiltinOperator, code)] == []
    options = {handling.options for handling in HANDLERS.values() if handling.options}
    assert [name for name in options if not hasattr(schema, name)] == []
