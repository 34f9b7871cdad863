"""The accuracy of INT8 models on real data: judged as said, and a miss is no success."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.requirements import require_module
from tools import accuracy_of_models
from tools.real_samples import MODEL_FILES, labels_of, samples_of


def test_digits_lose_no_accuracy() -> None:
    onnxruntime = require_module("onnxruntime")
    row = accuracy_of_models.judge("digits")
    labels, samples = labels_of("digits"), samples_of("digits", 450)
    assert labels is not None
    session = onnxruntime.InferenceSession(MODEL_FILES["digits"].read_bytes())
    name = session.get_inputs()[0].name
    found = [session.run(None, {name: x})[0].argmax() for x in samples]
    assert row.teacher == np.mean(found == labels)
    assert row.samples == 450
    assert row.ours >= row.least == row.teacher - 0.002
    assert row.holds


def test_a_miss_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(accuracy_of_models.ALLOWED_DROP, "digits", -0.1)
    assert accuracy_of_models.main(["digits", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["holds"] is False
    assert row["at least"] == pytest.approx(row["float"] + 0.1, abs=1e-4)


def test_an_auto_encoder_is_judged_by_what_it_does_not_reconstruct() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 1, (50, 1, 8))
    expected = samples.reshape(50, 8) + rng.normal(0, 1, (50, 8)) * rng.uniform(0, 3, (50, 1))
    score, _ = accuracy_of_models._score("ad01", samples, expected, None)
    assert score(expected) == pytest.approx(1)
    assert score(expected[::-1]) < 0.5
    errors = accuracy_of_models.reconstruction_errors(samples, samples.reshape(50, 8) + 2)
    np.testing.assert_allclose(errors, 4)


def test_other_seeds_give_other_samples() -> None:
    assert (samples_of("ad01", 4) == samples_of("ad01", 4, 0)).all()
    assert (samples_of("ad01", 4) != samples_of("ad01", 4, 1)).any()


def test_an_unknown_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        accuracy_of_models.main(["resnet99"])
    assert "no such model: resnet99; there are digits, kws" in capsys.readouterr().err
