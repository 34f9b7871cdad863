"""`edgeinfer convert --round`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from tests.requirements import require_module

require_module("numba")
onnx = require_module("onnx")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A convolution whose weights are coarse, since one of each channel is far larger."""
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((8, 8, 3, 3)) * 0.05).astype(np.float32)
    w[:, 0, 1, 1] = 3
    info, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [info("x", kind, (1, 8, 8, 8))],
        [info("y", kind, (1, 8, 8, 8))],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx"
    )
    mixing = rng.standard_normal((8, 2))
    x = np.einsum("cm,nmhw->nchw", mixing, rng.standard_normal((60, 2, 8, 8)))
    np.save(tmp_path / "x.npy", (x + 0.05 * rng.standard_normal(x.shape)).astype(np.float32))
    return tmp_path / "m.onnx"


def test_the_file_says_how_weights_were_rounded(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = str(source.with_name("x.npy")), str(source.with_suffix(".edge"))
    for rounding, said in (("nearest", False), ("adaptive", True)):
        command = ["convert", str(source), "-o", output, "--calibrate", data, "--round", rounding]
        assert main(command) == 0
        assert ("weights rounded adaptively" in capsys.readouterr().out) == said
        with edgeinfer.load(output) as model:
            assert model.metadata["quantization"]["rounding"] == rounding


def test_rounding_needs_calibration(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(source), "--round", "adaptive"]) == 2
    assert "give --calibrate" in capsys.readouterr().err
