"""Open shapes of inputs: fixed by whoever converts, or refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import check, convert
from edgeinfer.errors import ConversionError, InputError
from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_edit import edited
from tests.convert.graphs import GraphBuilder

Dim = int | str | None


def two_inputs(a: list[Dim], b: list[Dim], out: list[Dim] | None = None) -> bytes:
    """y = relu(a) + b, of shapes that may be open."""
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["r", "b"], ["y"])],
        "g",
        [make("a", TensorProto.FLOAT, a), make("b", TensorProto.FLOAT, b)],
        [make("y", TensorProto.FLOAT, out)],
        value_info=[make("r", TensorProto.FLOAT, a)],
    )
    opsets = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return model


def one_input(shape: list[Dim]) -> bytes:
    """A network whose inner shapes follow from its input's: Conv, Flatten and ReduceMean."""
    make = helper.make_tensor_value_info
    weights = np.linspace(-1, 1, 4 * 3 * 3 * 3, dtype=np.float32).reshape(4, 3, 3, 3)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=1),
            helper.make_node("Flatten", ["m"], ["y"]),
        ],
        "g",
        [make("x", TensorProto.FLOAT, shape)],
        [make("y", TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 13)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return model


@pytest.mark.parametrize("name", ["x", ""])
def test_a_fixed_input_gives_what_onnx_gives(name: str) -> None:
    model = one_input(["n", 3, "h", None])
    converted = convert(model, name="m.onnx", shapes={name: (2, 3, 6, 5)})
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5)).astype(np.float32)
    (expected,) = ReferenceEvaluator(onnx.load_model_from_string(model)).run(None, {"x": x})
    got: Any = edgeinfer.load(converted.data).run(x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_symbol_is_fixed_wherever_it_stands() -> None:
    model = two_inputs(["batch", "seq", 4], ["batch", "seq", 4], ["batch", "seq", 4])
    metadata = convert(model, name="m.onnx", shapes={"a": [1, 7, 4]}).metadata
    assert [t["shape"] for t in metadata["inputs"] + metadata["outputs"]] == [[1, 7, 4]] * 3


def test_shapes_that_are_numbers_may_be_said_again() -> None:
    model = two_inputs([2, 3], [2, 3], [2, 3])
    assert convert(model, name="m.onnx", shapes={"a": (2, 3)}).data


def test_minus_one_and_nothing_are_open() -> None:
    model = two_inputs([-1, 3], [None, 3], [None, 3])
    with pytest.raises(ConversionError, match=r"its shape \[\?, 3\] is not fixed"):
        convert(model, name="m.onnx")
    assert convert(model, name="m.onnx", shapes={"a": (5, 3), "b": (5, 3)}).data


def test_open_shapes_are_listed_with_what_to_do() -> None:
    model = two_inputs(["batch", 3, "h"], ["batch", 3, None], ["batch", 3, None])
    with pytest.raises(ConversionError) as caught:
        convert(model, name="m.onnx")
    assert [problem.node for problem in caught.value.problems] == ["a", "b"]
    first, second = map(str, caught.value.problems)
    assert "[batch, 3, h] is not fixed" in first
    assert "--shape a=batch,3,h, a number in the place of batch, h" in first
    assert "[batch, 3, ?] is not fixed" in second and "shapes={'b': ...}" in second
    assert "sequence" not in first + second


def test_an_open_sequence_is_told_of_lengths() -> None:
    with pytest.raises(ConversionError) as caught:
        convert(two_inputs([1, "tokens"], [1, "tokens"], [1, "tokens"]), name="m.onnx")
    advice = str(caught.value.problems[0])
    assert "where tokens is the length of a sequence, with --sequence-lengths" in advice


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1,)}, r"no input 'z'; its inputs: 'a' \[n, 3, h\], 'b' \[n, 3, h\]"),
        ({"": (1, 3, 2)}, "2 inputs, so a name is needed"),
        ({"a": (1, 3)}, r"'a': its shape \[n, 3, h\] has rank 3"),
        ({"a": (1, 4, 2)}, r"dimension 1 is 3 in the file, whose shape is \[n, 3, h\]"),
        ({"a": (1, 3, 2), "b": (2, 3, 2)}, "'n' is 1 already, by 'a'"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        convert(two_inputs(["n", 3, "h"], ["n", 3, "h"]), name="m.onnx", shapes=shapes)


def test_a_graph_has_shapes_already() -> None:
    b = GraphBuilder()
    x = b.input((1, 2), q=None)
    with pytest.raises(InputError, match="fixed shapes already"):
        convert(b.build(b.node("relu", [x], (1, 2))), shapes={"": (1, 2)})


SPEC = Spec((1, 2, 3), np.int8, Quant(0.05, 3))


def open_tflite() -> tuple[bytes, str]:
    """A model whose second axis is open, and the name of its input."""

    def change(model: Any) -> None:
        for index in (*model.subgraphs[0].inputs, *model.subgraphs[0].outputs):
            model.subgraphs[0].tensors[index].shapeSignature = [1, -1, 3]

    model = edited(elementwise_models.binary("ADD", SPEC, SPEC, SPEC), change)
    return model, convert(elementwise_models.binary("ADD", SPEC, SPEC, SPEC)).graph.inputs[0].name


def test_an_open_tflite_axis_is_refused_unless_it_is_said() -> None:
    model, first = open_tflite()
    problems = check(model, name="m.tflite")
    assert len(problems) == 2 and f"--shape {first}=1,2,3" in problems[0].advice
    names = [problem.node for problem in problems]
    assert convert(model, name="m.tflite", shapes=dict.fromkeys(names, (1, 2, 3))).data
    with pytest.raises(InputError, match=r"\[1, 5, 3\] that was asked for does not fit input"):
        convert(model, name="m.tflite", shapes={first: (1, 5, 3)})
    with pytest.raises(InputError, match="no input 'q'; its inputs: "):
        convert(model, name="m.tflite", shapes={"q": (1, 5, 3)})


def batched_tflite(code: str, *, out_is_open: bool = True) -> tuple[bytes, list[str]]:
    """An operator on two inputs of an open batch, and the names of the inputs."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        for index in (*graph.inputs, *(graph.outputs if out_is_open else ())):
            graph.tensors[index].shapeSignature = [-1, 2, 3]

    model = elementwise_models.binary(code, SPEC, SPEC, SPEC)
    return edited(model, change), [tensor.name for tensor in convert(model).graph.inputs]


@pytest.mark.parametrize("named", [0, 1])
def test_an_open_batch_of_a_tflite_model_is_set_for_all_inputs(named: int) -> None:
    model, names = batched_tflite("ADD")
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-128, 128, (4, 2, 3)).astype(np.int8) for _ in range(2))
    converted = convert(model, name="m.tflite", shapes={names[named]: (4, 2, 3)})
    whole: Any = edgeinfer.load(converted.data).run(dict(zip(names, (a, b), strict=True)))
    single = edgeinfer.load(convert(model, name="m.tflite").data)
    parts = [
        single.run(dict(zip(names, (a[i : i + 1], b[i : i + 1]), strict=True))) for i in range(4)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_batches_that_a_tflite_model_cannot_have_are_refused() -> None:
    model, (first, second) = batched_tflite("ADD")
    with pytest.raises(InputError, match="batches of 2 and 3; a model has one"):
        convert(model, name="m.tflite", shapes={first: (2, 2, 3), second: (3, 2, 3)})
    with pytest.raises(InputError, match="only the batch can be changed here"):
        convert(model, name="m.tflite", shapes={first: (2, 2, 4)})
    with pytest.raises(InputError, match="2 inputs, so a name is needed"):
        convert(model, name="m.tflite", shapes={"": (2, 2, 3)})
    model, (first, _) = batched_tflite("ADD", out_is_open=False)
    with pytest.raises(InputError, match=r"ADD makes '.*' of the fixed shape \[1, 2, 3\]"):
        convert(model, name="m.tflite", shapes={first: (2, 2, 3)})
    closed = elementwise_models.binary("ADD", SPEC, SPEC, SPEC)
    with pytest.raises(InputError, match="no axis of it can be changed here"):
        convert(closed, name="m.tflite", shapes={first: (2, 2, 3)})
    model, first = open_tflite()
    with pytest.raises(InputError, match="no axis of it can be changed here"):
        convert(model, name="m.tflite", shapes={first: (2, 5, 3)})


@pytest.mark.parametrize("kind", ["int8", "fp32"])
@pytest.mark.parametrize("name", ["ad01", "kws", "vww", "resnet8"])
def test_a_batch_gives_what_single_runs_give(name: str, kind: str, models_dir: Path) -> None:
    path = models_dir / f"{name}_{kind}.tflite"
    one = convert(path)
    (x,) = one.graph.inputs
    rng = np.random.default_rng(4)
    samples = rng.standard_normal((3, *x.shape[1:])).astype(np.float32)
    if kind == "int8":
        samples = rng.integers(-128, 128, samples.shape).astype(np.int8)
    many = convert(path, shapes={"": samples.shape})
    with edgeinfer.load(one.data) as single, edgeinfer.load(many.data) as batched:
        parts = [single.run(samples[i : i + 1]) for i in range(3)]
        np.testing.assert_array_equal(batched.run(samples), np.concatenate(parts))


def test_the_command_line_fixes_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "m.onnx", tmp_path / "m.edge"
    path.write_bytes(one_input(["n", 3, "h", "w"]))
    assert main(["convert", str(path), "-o", str(output)]) == 3
    assert "--shape x=n,3,h,w" in capsys.readouterr().err
    assert main(["convert", str(path), "-o", str(output), "--shape", "1,3,8,8"]) == 0
    assert main(["convert", str(path), "-o", str(output), "--shape", "q=1,3,8,8"]) == 1
    capsys.readouterr()
    assert main(["check", str(path), "--shape", "x=1,3,8,8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["convertible"] is True


@pytest.mark.parametrize("text", ["x", "x=", "x=0,1", "x=-1", "x=1,,2", "x=a", "1;2", "x=1.5"])
def test_what_is_no_shape_is_wrong_usage(text: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["convert", str(tmp_path / "m.onnx"), "--shape", text])
    assert caught.value.code == 2
