"""A real sentence-embedding model, where EDGEINFER_MINILM names its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgeinfer.text
from edgeinfer.convert import convert
from examples.embedding.similar import LENGTHS, most_similar
from tests.builders.onnx_run import run
from tests.requirements import missing

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def minilm() -> Path:
    """Folder of model.onnx and tokenizer.json."""
    named = os.environ.get("EDGEINFER_MINILM")
    if not named:
        pytest.skip("EDGEINFER_MINILM names no folder; tools/export_text_model.py makes one")
    if not (Path(named) / "model.onnx").is_file():
        missing(f"EDGEINFER_MINILM is {named!r}, which holds no model.onnx")
    return Path(named)


def test_minilm_gives_the_vectors_of_onnxruntime_at_every_length(minilm: Path) -> None:
    source = (minilm / "model.onnx").read_bytes()
    lines = (ROOT / "examples" / "embedding" / "sentences.txt").read_text().splitlines()
    texts = [*lines[:4], lines[0] * 3, " ".join(lines[:5]), " ".join(lines[:9])]
    converted = convert(source, sequence_lengths=LENGTHS).data
    model = edgeinfer.text.load(edgeinfer.load(converted), minilm)
    order = [i.name for i in onnx.load_model_from_string(source).graph.input]
    used = set()
    for text, vector in zip(texts, model.embed(texts), strict=True):
        encoded = model.encode(text)
        (found, *_) = run(source, *(encoded[name] for name in order))
        used.add(next(n for n in LENGTHS if n >= encoded["input_ids"].shape[1]))
        expected = found[0].mean(0) if found.ndim == 3 else found[0]
        assert 1 - vector @ (expected / np.linalg.norm(expected)) < 1e-6
    assert used == set(LENGTHS)
    query = model.embed("something is wrong with a machine")
    (_, best), (_, second) = most_similar(query, model.embed(lines), lines, 2)
    assert {best, second} == {
        "The coffee machine on the third floor is broken.",
        "The motor of the conveyor belt runs hot.",
    }
