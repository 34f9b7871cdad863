"""`edgeinfer convert --calibrate`: its report, and --max-drop."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.cli.accuracy import share
from tests.requirements import require_module


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """A float ONNX model whose second product cannot be INT8, samples with labels, an output."""
    onnx = require_module("onnx")
    rng = np.random.default_rng(0)
    w = [rng.standard_normal((12, 16)), rng.standard_normal((16, 16)), rng.standard_normal((16, 5))]
    w[0][:, 0] = 0  # a channel that is always 0, and very large weights for it
    w[1][0] = 4000
    names = ["first", "second", "third"]
    nodes, inputs = [], "x"
    for name in names:
        nodes.append(onnx.helper.make_node("MatMul", [inputs, f"{name}_w"], [name], name=name))
        inputs = name
        if name != "third":
            nodes.append(onnx.helper.make_node("Relu", [name], [f"{name}_relu"]))
            inputs = f"{name}_relu"
    weights = [
        onnx.numpy_helper.from_array(values.astype(np.float32), f"{name}_w")
        for name, values in zip(names, w, strict=True)
    ]
    ends = [
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 12]),
        onnx.helper.make_tensor_value_info("third", onnx.TensorProto.FLOAT, [1, 5]),
    ]
    graph = onnx.helper.make_graph(nodes, "three", ends[:1], ends[1:], weights)
    model = tmp_path / "float.onnx"
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), model)
    x = rng.standard_normal((200, 12)).astype(np.float32)
    hidden = np.maximum(np.maximum(x @ w[0], 0) @ w[1], 0) @ w[2]
    np.savez(tmp_path / "data.npz", x=x, labels=hidden.argmax(-1))
    return str(model), str(tmp_path / "data.npz"), str(tmp_path / "int8.edge")


def test_a_conversion_ends_in_a_report(
    files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, output = files
    page, numbers = tmp_path / "report.html", tmp_path / "report.json"
    arguments = ["convert", model, "-o", output, "--calibrate", data]
    assert main([*arguments, "--report", str(page), "--report", str(numbers)]) == 0
    text = capsys.readouterr().out
    assert "accuracy against the float model, on 40 held-out samples" in text
    assert "worst of 3 layers" in text and str(page) in text
    assert "<svg" in page.read_text()
    stored = json.loads(numbers.read_text())
    assert [layer["name"] for layer in stored["layers"]] == ["first_relu", "second_relu", "third"]
    assert stored["outputs"][0]["top_one"] < 0.9


@pytest.mark.parametrize("metric", [None, "top1", "accuracy", "sqnr"])
def test_max_drop_keeps_the_layer_that_needs_it(
    metric: str | None, files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, output = files
    chosen = [] if metric is None else ["--metric", metric]
    arguments = ["convert", model, "-o", output, "--calibrate", data, "--max-drop", "2.6%"]
    assert main([*arguments, "--no-equalize", *chosen]) == 0
    text = capsys.readouterr().out
    assert f"max drop 2.600% of {metric or 'top1'}" in text
    with edgeinfer.load(output) as loaded:
        report = loaded.metadata["quantization"]["report"]["max_drop"]
    assert [layer["name"] for layer in report["raised"]] == ["second_relu"]
    assert report["reached"] <= 0.026 < report["int8_drop"]


def test_what_cannot_hold_is_exit_code_5_and_writes_nothing(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, output = files
    arguments = ["convert", model, "-o", output, "--calibrate", data, "--no-equalize"]
    assert main([*arguments, "--max-drop", "1%", "--max-raised", "0"]) == 5
    assert "top1 drops by" in capsys.readouterr().err
    assert not Path(output).exists()


def test_a_metric_from_a_file(
    files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, output = files
    path = tmp_path / "mine.py"
    path.write_text(
        "def right(outputs, samples):\n"
        "    return (outputs['third'].argmax(-1).ravel() == samples['labels']).mean()\n"
    )
    arguments = ["convert", model, "-o", output, "--calibrate", data, "--no-equalize"]
    assert main([*arguments, "--max-drop", "2.6%", "--metric", f"{path}:right"]) == 0
    assert "mine.py:right: reached" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibrate", "x.npz", "--report", "a.pdf"], "a report is .json or .html"),
        (["--calibrate", "x.npz", "--metric", "top1"], "a metric is for max_drop"),
    ],
)
def test_options_that_go_nowhere_are_refused(
    options: list[str],
    message: str,
    files: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["convert", files[0], "-o", files[2], *options]) == 1
    assert message in capsys.readouterr().err


def test_shares_are_percent_or_parts_of_one() -> None:
    assert share("0.5%") == pytest.approx(0.005)
    assert share("0.005") == 0.005
    assert share("0") == 0.0
    for text in ("half", "-1%", "nan", "%"):
        with pytest.raises(argparse.ArgumentTypeError):
            share(text)
