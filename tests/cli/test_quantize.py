"""`edgeinfer convert --calibrate`, as a user or a script calls it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.cli.accuracy import add_accuracy_arguments
from edgeinfer.cli.quantization import NEED_CALIBRATION, add_quantization_arguments
from edgeinfer.convert import convert

MODEL = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits_float.onnx"
HELD_OUT = MODEL.with_name("heldout.npz")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "digits.npy"
    with np.load(HELD_OUT) as data:
        np.save(path, data["images"][:200, None])
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["convert", str(MODEL), *map(str, arguments)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_digits_lose_no_accuracy(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within 0.2 points of the float model on held-out digits, none of which calibrated it."""
    target = tmp_path / "digits.edge"
    code, out, _ = run(capsys, "-o", target, "--calibrate", samples, "--scale", "0.0625")
    assert code == 0 and "160 samples, ranges by" in out
    with np.load(HELD_OUT) as data:
        images, labels = data["images"][200:, None].astype(np.float32) / 16, data["labels"][200:]
    accuracy = []
    for source in (target.read_bytes(), convert(MODEL).data):
        with edgeinfer.load(source) as model:
            found = [int(np.asarray(model.run(x[None])).argmax()) for x in images]
        accuracy.append(np.mean(np.array(found) == labels))
    assert abs(accuracy[0] - accuracy[1]) <= 0.002


def test_the_same_command_gives_the_same_bytes(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "a.edge", tmp_path / "b.edge"]
    for file in files:
        assert run(capsys, "-o", file, "--calibrate", samples, "--scale", "0.0625")[0] == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_every_option_arrives(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "digits.edge"
    code, out, _ = run(
        capsys, "-o", target, "--calibrate", samples, "--method", "percentile",
        "--percentile", "99", "--no-equalize", "--no-bias-correction", "--io", "int8",
        "--mean", "8", "--std", "4", "--samples", "100", "--seed", "3", "--keep-float", "logits",
        "--json",
    )  # fmt: skip
    assert code == 0
    described = json.loads(out)["quantization"]
    assert described["method"] == "percentile" and described["seed"] == 3
    assert described["samples"] == 80 and described["equalized_tensors"] == 0
    assert described["bias_corrected"] is False
    assert described["float_layers"] == {"logits": "asked for"}
    with edgeinfer.load(target) as model:
        assert model.inputs[0].dtype == np.int8 and model.inputs[0].scale > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrate", "nowhere.npz"], "'nowhere.npz': cannot be opened: No such file"),
        (
            ["--calibrate", "SAMPLES", "--keep-float", "logit"],
            "no layer that makes a tensor 'logit'",
        ),
        (
            ["--calibrate", "SAMPLES", "--keep-float", "logits", "--int16", "logits"],
            "'logits': asked for both in float32",
        ),
        (["--calibrate", "SAMPLES", "--samples", "9"], "holds 9 samples; calibration needs"),
        (["--calibrate", "SAMPLES", "--percentile", "20"], "percentile is 20.0"),
        (["--calibrate", "SAMPLES", "--scale", "16"], "does not look normalised"),
        (["--calibrate", "SAMPLES", "--weights", "nvfp4", "--int8", "logit"], "tensor 'logit'"),
    ],
)
def test_refusals_say_what_to_do(
    arguments: list[str], message: str, samples: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = [str(samples) if a == "SAMPLES" else a for a in arguments]
    code, _, err = run(capsys, "-o", tmp_path / "x.edge", *given)
    assert code == 1 and message in err
    assert not (tmp_path / "x.edge").exists()


def test_a_budget_of_weights_that_nothing_fits_has_the_exit_code_of_budgets(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--calibrate", str(samples), "--method", "minmax", "--weights-budget", "1KiB"]
    code, _, err = run(capsys, "-o", tmp_path / "x.edge", *words)
    assert code == 4 and "constants take at least" in err and "1,024 bytes" in err


def calibration_options() -> dict[str, list[str]]:
    """Every option of quantisation and accuracy, as given, by its name in the namespace."""
    parser = argparse.ArgumentParser()
    add_quantization_arguments(parser)
    add_accuracy_arguments(parser)
    actions = [a for a in parser._actions if a.dest not in ("help", "calibrate")]
    value = {"percentile": "99", "scale": "2", "mean": "1", "std": "1", "samples": "3", "seed": "0"}
    value |= {"max_drop": "1%", "max_raised": "0", "prune": "0", "weights_budget": "1KiB"}
    return {
        a.dest: [
            a.option_strings[-1],
            *([] if a.nargs == 0 else [next(iter(a.choices or [value.get(a.dest, "x")]))]),
        ]
        for a in actions
    }


def test_every_option_without_calibration_is_wrong_usage_and_named_as_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = calibration_options()
    assert NEED_CALIBRATION == {name: words[0] for name, words in options.items()}
    sentence = "for quantising a float model; give --calibrate DATA as well"
    for words in options.values():
        code, _, err = run(capsys, "-o", tmp_path / "x.edge", *words)
        assert (code, err) == (2, f"edgeinfer: {words[0]}: {sentence}\n")


def test_thin_data_can_be_allowed(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--calibrate", samples, "--samples", "9", "--scale", "0.0625"]
    target = tmp_path / "x.edge"
    assert run(capsys, "-o", target, *arguments, "--allow-thin-calibration")[0] == 0


def test_numbers_between_commas(tmp_path: Path, samples: Path) -> None:
    for wrong in ("1,two", "nan", ""):
        with pytest.raises(SystemExit):
            main(["convert", str(MODEL), "--calibrate", str(samples), "--mean", wrong])
