"""`edgeinfer compare`, as a user or a script calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.cli import main
from edgeinfer.convert import convert
from tests.convert.float_networks import SAMPLES, small_network
from tests.convert.test_compare_models import broken_network


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


def test_a_broken_layer_is_named_and_the_exit_code_is_1(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [files["float.edge"], files["broken.edge"], "--data", files["data.npz"]]
    assert main(["compare", *arguments]) == 1
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
        assert main(["compare", *arguments, *option]) == 1
    assert "largest error" in capsys.readouterr().out


def test_data_for_other_inputs_is_refused(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "other.npz"
    np.savez(data, x=np.zeros((3, 5)), y=np.zeros(3))
    arguments = [files["float.edge"], files["int8.edge"], "--data", str(data)]
    assert main(["compare", *arguments]) == 1
    assert "the model's inputs are ['input_1']" in capsys.readouterr().err
