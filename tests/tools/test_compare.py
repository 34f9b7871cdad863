"""tools/compare.py: what it counts, in which unit, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model
from tests.builders import onnx_qdq_ops, tflite_elementwise_ops
from tests.builders.spec import Quant, Spec
from tests.device.programs import one_in_one_out
from tests.requirements import require_module
from tools.compare import Difference, compare, differences_of, main


@pytest.fixture
def onnx_model(tmp_path: Path) -> Path:
    require_module("onnxruntime")
    spec = Spec((1, 6), np.int8, Quant(0.25, 3))
    path = tmp_path / "sum.onnx"
    path.write_bytes(onnx_qdq_ops.binary("Add", spec, spec, spec))
    return path


@pytest.fixture
def tflite_model(tmp_path: Path) -> Path:
    require_module("ai_edge_litert")
    spec = Spec((1, 2, 3), np.int8, Quant(0.05, 3))
    path = tmp_path / "sum.tflite"
    path.write_bytes(tflite_elementwise_ops.binary("ADD", spec, spec, spec))
    return path


class Shifted:
    """A peer whose outputs are given."""

    name = "a peer"

    def __init__(self, *outputs: np.ndarray) -> None:
        self._outputs = list(outputs)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._outputs

    def invoke(self) -> None:
        """Nothing to compute."""


def test_integers_are_compared_in_steps() -> None:
    found = Difference("y", 1.0)
    ours = np.array([[1, 2, 3]], np.int8)
    found.add(ours, ours)
    found.add(ours, np.array([[1, 2, -3]], np.int8))
    assert (found.values, found.differ, found.largest, found.runs) == (6, 1, 6.0, 2)


def test_int8_extremes_do_not_wrap() -> None:
    found = Difference("y", 1.0)
    found.add(np.array([127], np.int8), np.array([-128], np.int8))
    assert found.largest == 255.0


def test_the_largest_entry_is_compared_in_each_row() -> None:
    found = Difference("y", 1.0)
    ours = np.array([[[1, 9], [5, 2], [0, 3]]], np.int8)
    theirs = np.array([[[1, 9], [2, 5], [0, 3]]], np.int8)
    found.add(ours, theirs)
    assert (found.same_top1, found.rows) == (2, 3)


def test_rows_of_one_entry_have_no_top1() -> None:
    found = Difference("y", 1.0)
    found.add(np.zeros((4, 1), np.int8), np.ones((4, 1), np.int8))
    assert (found.same_top1, found.rows, found.differ) == (0, 0, 4)


def test_nan_is_like_nan_and_unlike_all_else() -> None:
    found = Difference("y")
    nan = np.array([np.nan, 1.0, np.inf], np.float32)
    found.add(nan, nan)
    assert (found.differ, found.largest) == (0, 0.0)
    found.add(nan, np.array([0.0, 1.0, np.inf], np.float32))
    assert (found.differ, found.largest) == (1, np.inf)


def test_a_float_output_is_measured_in_steps_of_its_dequantize(digits_dir: Path) -> None:
    path = digits_dir / "digits_int8.onnx"
    source = onnx.load(path)
    (last,) = [n for n in source.graph.node if n.output[0] == source.graph.output[0].name]
    assert last.op_type == "DequantizeLinear"
    (scale,) = [t for t in source.graph.initializer if t.name == last.input[1]]
    data = convert(path).data
    (found,) = differences_of(data)
    assert found.step is not None
    assert found.step == pytest.approx(float(numpy_helper.to_array(scale)))
    with edgeinfer.load(data) as model:
        (info,) = model.inputs
        x = np.zeros(info.shape, info.dtype)
        peer = Shifted(model.run(x) + np.float32(3 * found.step))
        (found,) = compare(model, peer, iter([[x]]), [found])
    assert found.largest == pytest.approx(3.0, rel=1e-4)


def test_the_scale_is_found_behind_moves() -> None:
    q, f, y = Value("q", (2, 3), "int8"), Value("f", (2, 3), "float32"), Value("y", (6,), "float32")
    operations = [
        Operation("dequantize", [q], [f], {"scale": 0.5, "zero_point": 1}, "to float"),
        Operation("copy", [f], [y], {"reserved": 0}, "flat"),
    ]
    program = Program("main", [q], [y], operations)
    (found,) = differences_of(write_model([(program, plan_program(program))], {}))
    assert found.step == 0.5


def test_a_float_output_that_nothing_quantised_made_has_no_step() -> None:
    x, y = Value("x", (4,), "float32"), Value("y", (4,), "float32")
    program = Program("main", [x], [y], [Operation("copy", [x], [y], {"reserved": 0}, "same")])
    (found,) = differences_of(write_model([(program, plan_program(program))], {}))
    assert found.step is None
    (found,) = differences_of(one_in_one_out())
    assert found.step == 1.0


@pytest.mark.parametrize("builtin", [False, True])
def test_a_tflite_model_is_compared(
    tflite_model: Path, builtin: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--count", "20", "--json", *(["--builtin"] if builtin else [])]
    assert main([str(tflite_model), *options]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["values"], found["rows"]) == (20, 120, 40)
    assert found["differ"] == 0 and found["same_top1"] == 40


def test_an_onnx_model_is_compared(onnx_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(onnx_model), "--count", "20", "--max-step", "1"]) == 0
    printed = capsys.readouterr().out
    assert "sum.onnx against onnxruntime, 20 inputs" in printed
    assert "/20" in printed and "(value)" not in printed


def test_operators_are_compared_alone(
    tflite_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tflite_model), "--by-operator", "--count", "5"]
    assert main([*arguments, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["operator"] == "ADD" and found["difference"]["values"] == 30
    assert found["difference"]["differ"] == 0
    assert main(arguments) == 0
    assert "ADD" in capsys.readouterr().out


def test_a_stack_from_a_file_is_compared(
    tmp_path: Path, digits_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("onnxruntime")
    model = digits_dir / "digits_int8.onnx"
    with edgeinfer.load(convert(model).data) as loaded:
        (info,) = loaded.inputs
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.random((3, *info.shape), np.float32).astype(info.dtype))
    assert main([str(model), "--data", str(tmp_path / "x.npy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["runs"] == 3
    np.save(tmp_path / "none.npy", np.zeros((0, *info.shape), info.dtype))
    assert main([str(model), "--data", str(tmp_path / "none.npy")]) == 1
    assert "nothing to compare" in capsys.readouterr().err


def test_a_difference_above_the_bar_is_exit_code_1(tflite_model: Path) -> None:
    assert main([str(tflite_model), "--count", "2", "--max-step", "-1"]) == 1
    assert main([str(tflite_model), "--count", "2", "--max-step", "0"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m.edge"], "no peer runs it"),
        (["m.onnx", "--by-operator"], "for .tflite models"),
        (["m.tflite", "--count", "0"], "1 or more"),
        (["m.tflite", "--seed", "-1"], "negative"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gone.tflite"]) == 1
    assert "gone.tflite" in capsys.readouterr().err
