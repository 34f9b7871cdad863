"""Weights of layers on float32 that samples round: `activations="dynamic"`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.quantize.channel_weights import round_channels
from edgeinfer.convert.quantize.feed_back_errors import feed_back_channels
from edgeinfer.errors import InputError
from tests.builders.onnx_run import run
from tests.builders.onnx_transformers import LENGTH, WORDS, bert
from tests.requirements import require_module

IDS, MASK = "input_ids", "attention_mask"
MOST_LEFT = 0.8
"""Of the error of rounding, with feedback."""


@pytest.fixture(scope="module")
def encoder() -> bytes:
    return bert(IDS, MASK)


def texts(seed: int, count: int, lengths: Sequence[int] = (5, 9, 12)) -> list[dict[str, Any]]:
    """Samples [1, n]: neighbouring words are alike, as they are in a language."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        n = int(rng.choice(lengths))
        ids = (rng.integers(WORDS) + np.cumsum(rng.integers(0, 3, n))) % WORDS
        samples.append({IDS: ids[None], MASK: np.ones((1, n), np.int64)})
    return samples


def error(data: bytes, source: bytes, samples: Sequence[dict[str, Any]]) -> float:
    """Of outputs, as a share of their squares."""
    lost = kept = 0.0
    with edgeinfer.load(data) as model:
        for sample in samples:
            (expected,) = run(source, sample[IDS], sample[MASK])
            found = model.run(sample)
            lost += float(np.sum((found - expected) ** 2))
            kept += float(np.sum(expected**2))
    return lost / kept


@pytest.mark.parametrize("scheme", ["mxfp4", "int8"])
def test_outputs_lose_less_with_samples(encoder: bytes, scheme: Any) -> None:
    given: dict[str, Any] = {"weights": scheme, "sequence_lengths": [6, LENGTH]}
    plain = convert(encoder, **given)
    made = convert(encoder, activations="dynamic", calibration=texts(1, 100), **given)
    judged = texts(2, 20)
    most = {"mxfp4": 0.6, "int8": 0.97}[scheme]
    assert error(made.data, encoder, judged) < most * error(plain.data, encoder, judged)
    said = made.metadata["calibration"]
    assert said["weights"] == scheme and said["layers"] == 6
    assert (said["samples"], said["held_out"]) == (80, 20)
    assert said["sqnr_db"] > said["sqnr_db_without_samples"]
    # Both lengths have the same weights, once, in a file that is no larger but for biases.
    assert len(made.data) < len(plain.data) + 4096


def test_masked_tokens_do_not_count(encoder: bytes) -> None:
    short = texts(3, 60, (7,))
    rng = np.random.default_rng(0)
    filled = [
        {
            IDS: np.concatenate([s[IDS], rng.integers(0, WORDS, (1, LENGTH - 7))], axis=1),
            MASK: (np.arange(LENGTH) < 7).astype(np.int64)[None],
        }
        for s in short
    ]
    stacked = {name: np.concatenate([s[name] for s in short]) for name in (IDS, MASK)}
    made = [
        convert(
            encoder,
            activations="dynamic",
            calibration=samples,
            weights="mxfp4",
            shapes={IDS: (1, LENGTH), MASK: (1, LENGTH)},
        ).data
        for samples in (short, stacked, filled)
    ]
    assert made[0] == made[1]  # shorter arrays are filled up
    with edgeinfer.load(made[0]) as ours, edgeinfer.load(made[2]) as theirs:
        for sample in filled[:5]:
            rows = [model.run(sample)[:, :7] for model in (ours, theirs)]
            np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


def test_thin_samples_change_nothing(encoder: bytes) -> None:
    given: dict[str, Any] = {"weights": "mxfp4", "sequence_lengths": [LENGTH]}
    made = convert(
        encoder,
        activations="dynamic",
        calibration=texts(1, 3),
        allow_thin_calibration=True,
        **given,
    )
    assert made.metadata["calibration"]["layers"] == 0  # fewer rows than two for each weight
    plain = convert(encoder, **given).programs[0]
    for mine, other in zip(made.programs[0].operations, plain.operations, strict=True):
        for a, b in zip(mine.inputs, other.inputs, strict=True):
            if a is not None and b is not None and a.data is not None:
                np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": "dynamic"}, "say what weights they meet"),
        ({"activations": "static"}, "need calibration data"),
        ({"activations": "float"}, "must be 'static' or 'dynamic'"),
        ({"calibration": texts(0, 40)}, "let activations be dynamic"),
        ({"tokenizer": "x"}, "for calibration data that is sentences"),
        ({"calibration": ["a", "b"], "activations": "dynamic", "weights": "int8"}, "tokenizer=..."),
    ],
)
def test_what_does_not_go_together_is_refused(
    encoder: bytes, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        convert(encoder, sequence_lengths=[LENGTH], **options)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (texts(0, 40), {"method": "mse"}, "method: for static activations"),
        (texts(0, 3), {}, "at least 32"),
        (texts(0, 40, (LENGTH + 1,)), {}, r"has shape \[1, 13\]"),
        ([{IDS: s[IDS]} for s in texts(0, 40)], {}, "no array for input 'attention_mask'"),
        ([{IDS: s[IDS], MASK: 0 * s[MASK]} for s in texts(0, 40)], {}, "no token counts"),
    ],
)
def test_samples_that_are_of_no_use_are_refused(
    encoder: bytes, samples: Any, options: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"weights": "mxfp4", "sequence_lengths": [LENGTH], **options}
    with pytest.raises(InputError, match=message):
        convert(encoder, calibration=samples, activations="dynamic", **given)


def test_lines_of_a_file_are_samples(
    encoder: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizers = require_module("tokenizers")
    words = {f"w{i}": i for i in range(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    lines = [" ".join(f"w{i}" for i in sample[IDS][0]) for sample in texts(1, 50)]
    (tmp_path / "lines.txt").write_text("\n\n".join(lines))
    (tmp_path / "model.onnx").write_bytes(encoder)
    arguments = ["convert", str(tmp_path / "model.onnx"), "--sequence-lengths", str(LENGTH)]
    arguments += ["--weights", "nvfp4", "--activations", "dynamic"]
    arguments += ["--calibrate", str(tmp_path / "lines.txt")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "nvfp4    6 layers rounded by 40 samples; outputs of 10 others: SQNR" in said
    same = convert(
        tmp_path / "model.onnx",
        sequence_lengths=[LENGTH],
        weights="nvfp4",
        activations="dynamic",
        calibration=lines,
        tokenizer=tmp_path / "tokenizer.json",
    )
    assert same.data == (tmp_path / "model.edge").read_bytes()
    assert main([*arguments, "--method", "mse"]) == 2
    assert "--method: for static activations" in capsys.readouterr().err


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(16, 32), st.integers(40, 90))
def test_feedback_of_int8_loses_less_than_rounding(seed: int, n: int, k: int) -> None:
    """On inputs that go together, where errors can make up for each other."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n, k)).astype(np.float32)
    x = rng.normal(size=(200, k // 3)) @ rng.normal(size=(k // 3, k))
    x += 0.05 * rng.normal(size=x.shape)
    moments = x.T @ x / len(x)
    plain, fed = round_channels(weights), feed_back_channels(weights, moments, 1e-4)
    np.testing.assert_array_equal(plain.scales, fed.scales)
    assert np.abs(fed.codes).max() <= 127
    losses = [np.sum(((w.values() - weights) @ x.T) ** 2) for w in (plain, fed)]
    assert losses[1] < MOST_LEFT * losses[0]
    weights[0] = 0
    assert not feed_back_channels(weights, moments).codes[0].any()
