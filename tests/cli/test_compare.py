"""`edgeinfer compare`, as a user or a script calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.printing import shortened
from tests.convert.float_networks import SAMPLES, small_network
from tests.convert.test_compare_models import broken_network
from tests.requirements import require_module


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("compare")
    convert(small_network()).save(folder / "float.edge")
    convert(small_network(), calibration=SAMPLES).save(folder / "int8.edge")
    convert(broken_network(1), calibration=SAMPLES).save(folder / "broken.edge")
    np.savez(folder / "data.npz", input_1=SAMPLES[:6])
    return {path.name: str(path) for path in folder.iterdir()}


def test_a_good_file_passes(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [files["float.edge"], files["int8.edge"], "--data", files["data.npz"]]
    assert main(["compare", *arguments]) == 0
    text = capsys.readouterr().out
    assert "every layer keeps to the limits" in text
    assert "5 tensors compared on 6 samples" in text
    assert "top-1 agreement 100.00%" in text


def test_a_broken_layer_is_named_and_the_exit_code_is_5(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [files["float.edge"], files["broken.edge"], "--data", files["data.npz"]]
    assert main(["compare", *arguments]) == 5
    text = capsys.readouterr().out
    assert "goes wrong first in 'depthwise_conv2d_7' (depthwise_conv2d): SQNR" in text
    assert next(line for line in text.splitlines() if line.startswith("!")).split()[1] == (
        "depthwise_conv2d_7"
    )


def test_json_holds_every_layer(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [files["int8.edge"], files["int8.edge"], "--data", files["data.npz"], "--json"]
    assert main(["compare", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["first_broken"] is None
    assert len(found["layers"]) == 7
    assert {layer["sqnr_db"] for layer in found["layers"]} == {"Infinity"}


def test_limits_come_from_options(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [files["float.edge"], files["int8.edge"], "--data", files["data.npz"]]
    for option in (["--min-sqnr", "90"], ["--min-cosine", "0.9999999"], ["--max-error", "0"]):
        assert main(["compare", *arguments, *option]) == 5
    assert "largest error" in capsys.readouterr().out


def test_data_for_other_inputs_is_refused(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "other.npz"
    np.savez(data, x=np.zeros((3, 5)), y=np.zeros(3))
    arguments = [files["float.edge"], files["int8.edge"], "--data", str(data)]
    assert main(["compare", *arguments]) == 1
    assert "the model's inputs are ['input_1']" in capsys.readouterr().err


def test_a_float_onnx_and_its_quantised_one_have_their_layers_in_common(
    digits_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(digits_dir / "heldout.npz") as archive:
        pixels = archive["images"]
    np.savez(tmp_path / "digits.npz", image=pixels.reshape(-1, 1, 8, 8))
    models = [str(digits_dir / f"digits_{kind}.onnx") for kind in ("float", "int8")]
    arguments = [*models, "--data", str(tmp_path / "digits.npz"), "--samples", "8", "--json"]
    assert main(["compare", *arguments, "--scale", str(1 / 16)]) == 0
    found = json.loads(capsys.readouterr().out)
    pairs = {(x["first"]["operator"], x["second"]["dtype"]) for x in found["layers"]}
    assert {("Conv", "int8"), ("Add", "int8"), ("MaxPool", "int8")} <= pairs
    assert len(found["layers"]) == 12 and found["samples"] == 8
    assert main(["compare", *arguments]) == 5  # not scaled, which the INT8 model cannot take
    assert json.loads(capsys.readouterr().out)["first_broken"].startswith("/stem/")


def test_open_shapes_are_fixed_for_source_models(
    digits_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = require_module("onnx")
    model = onnx.load(digits_dir / "digits_float.onnx")
    name = model.graph.input[0].name
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "open.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((4, 1, 8, 8), np.float32))
    files = [str(tmp_path / "open.onnx"), str(digits_dir / "digits_float.onnx")]
    arguments = ["compare", *files, "--data", str(tmp_path / "x.npy")]
    assert main(arguments) == 3
    capsys.readouterr()
    assert main([*arguments, "--shape", f"{name}=1,1,8,8", "--max-error", "0"]) == 0
    assert "without a partner" not in capsys.readouterr().out


def test_float_and_int8_tflite_on_stored_integers(
    models_dir: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("tflite")
    with np.load(data_dir / "kws01_1000.npz") as archive:
        np.savez(tmp_path / "kws.npz", x=archive["inputs"][:8])
    models = [str(models_dir / f"kws_{kind}.tflite") for kind in ("fp32", "int8")]
    assert main(["compare", *models, "--data", str(tmp_path / "kws.npz"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unmatched"] == [0, 0] and len(found["layers"]) == 13
    assert found["layers"][-1]["top1"] == 1.0


def test_names_are_shortened_where_they_are_alike() -> None:
    assert shortened("conv") == "conv"
    assert shortened("relu;conv/bias;conv") == "relu;…"
    assert shortened("/" + "block/" * 12 + "conv", 17) == "…block/block/conv"
    assert len(shortened("x" * 90 + ";y", 44)) == 44
    assert shortened("a\x1b[2Jb") == "a?[2Jb"
