"""Text in: tokenizer files, what a model is given for a sentence, and vectors of sentences."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
import edgeinfer.text
from edgeinfer.convert import convert
from edgeinfer.errors import InputError, MissingExtraError, ModelNotFoundError
from tests.builders.onnx_encoder import WIDTH, encoder
from tests.builders.onnx_run import run
from tests.device.programs import one_in_one_out
from tests.requirements import require_module

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "cat"]
WORDS += ["dog", "sat", "ran", "on", "over", "mat", "hill"]
TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tokenizer.json, which asks for padding and truncation, as files that people have do."""
    tokenizers = require_module("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding(length=30)
    made.enable_truncation(30)
    path = tmp_path_factory.mktemp("model")
    made.save(str(path / "tokenizer.json"))
    source = encoder(["b", "s"])
    convert(source, sequence_lengths=[4, 8, 12]).save(path / "lengths.edge")
    convert(source, shapes={"input_ids": (1, 12)}).save(path / "single.edge")
    return path


@pytest.fixture(params=["lengths.edge", "single.edge"])
def model(request: pytest.FixtureRequest, folder: Path) -> edgeinfer.text.TextModel:
    return edgeinfer.text.load(folder / request.param)


def test_a_sentence_becomes_ids_and_a_mask_of_its_own_length(
    model: edgeinfer.text.TextModel,
) -> None:
    found = model.encode(TEXT)
    assert list(found) == ["input_ids", "attention_mask"]
    np.testing.assert_array_equal(found["input_ids"], [[2, 4, 6, 8, 10, 4, 12, 3]])
    np.testing.assert_array_equal(found["attention_mask"], np.ones((1, 8)))
    assert found["input_ids"].dtype == np.int64


def test_what_is_too_long_loses_its_end_and_keeps_the_closing_token(
    model: edgeinfer.text.TextModel,
) -> None:
    ids = model.encode("cat dog " * 30)["input_ids"][0]
    assert model.max_tokens == 12
    assert ids.tolist() == [2, *[6, 7] * 5, 3]


def test_vectors_are_unit_means_over_tokens(model: edgeinfer.text.TextModel) -> None:
    texts = [TEXT, "a dog", "", "the dog ran over a hill on the cat on the mat"]
    vectors = model.embed(iter(texts))
    assert vectors.shape == (4, WIDTH) and vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        hidden, _ = run(encoder(["b", "s"]), *model.encode(text).values())
        mean = hidden[0].mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(model.embed(text), vector)
    assert model.embed([]).shape == (0, WIDTH)


def test_a_loaded_model_and_tokenizer_can_be_given(folder: Path) -> None:
    tokenizer = edgeinfer.text.Tokenizer(folder / "tokenizer.json")
    loaded = edgeinfer.load(folder / "single.edge")
    with edgeinfer.text.load(loaded, tokenizer) as model:
        assert model.embed(TEXT).shape == (WIDTH,)
    with pytest.raises(InputError, match="tokenizer= is missing"):
        edgeinfer.text.load(loaded)
    with pytest.raises(InputError, match="threads: the model is loaded"):
        edgeinfer.text.load(loaded, tokenizer, threads=2)


def test_what_cannot_be_is_refused(folder: Path, tmp_path: Path) -> None:
    tokenizer = edgeinfer.text.Tokenizer(folder)
    with pytest.raises(ModelNotFoundError, match="no such tokenizer file"):
        edgeinfer.text.load(folder / "single.edge", tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is not a tokenizer"):
        edgeinfer.text.Tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"takes \['x'\], which no text gives"):
        edgeinfer.text.load(edgeinfer.load(one_in_one_out()), tokenizer)
    with pytest.raises(InputError, match="adds 2"):
        tokenizer.encode(TEXT, max_length=2)
    with pytest.raises(InputError, match="not bytes"):
        tokenizer.encode(b"the cat")  # type: ignore[arg-type]


def test_a_missing_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"'tokenizers'.*edgeinfer\[text\]"):
        edgeinfer.text.load(folder / "single.edge")
