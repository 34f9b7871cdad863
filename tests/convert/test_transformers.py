"""Blocks of transformers as exporters write them out, against onnxruntime: RMS norm, SiLU, rotary
embedding, grouped queries, causal masks, layer norm of simple operators, GELU by erf, masks by
subtraction."""

from __future__ import annotations

from typing import Any

import numpy as np

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.read import read_model
from tests.builders.onnx_run import run
from tests.builders.onnx_transformers import LENGTH, WORDS, bert, llama


def tokens() -> np.ndarray:
    return np.random.default_rng(7).integers(0, WORDS, (1, LENGTH))


def operators(data: bytes) -> list[str]:
    return [node.operator for node in read_model(data).programs[0].nodes]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_decoder_layer_gives_the_logits_of_onnxruntime() -> None:
    source, ids = llama(), tokens()
    data = convert(source, sequence_lengths=[LENGTH]).data
    found = operators(data)
    assert found.count("layer_norm_f32") == 3  # RMS norms are recognised, each of them
    assert found.count("fully_connected_f32") == 8 and found.count("batch_matmul_f32") == 2
    (expected,) = run(source, ids)
    with edgeinfer.load(data) as model:
        y = model.run(ids)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for scheme, least in (("int8", 0.999), ("nvfp4", 0.97)):
        made: Any = convert(source, sequence_lengths=[LENGTH], weights=scheme)  # type: ignore
        assert "fully_connected_f32" not in operators(made.data)
        with edgeinfer.load(made.data) as model:
            assert least < cosine(model.run(ids), expected) < 1 - 1e-7


def test_an_encoder_layer_gives_the_rows_of_onnxruntime_whatever_is_masked() -> None:
    source, ids = bert(), tokens()
    data = convert(source, sequence_lengths=[LENGTH]).data
    found = operators(data)
    assert found.count("layer_norm_f32") == 3
    assert found.count("unary_f32") == 1  # GELU, one operator
    with edgeinfer.load(data) as model:
        for seen in (LENGTH, 5, 1):
            mask = (np.arange(LENGTH) < seen).astype(np.int64)[None]
            (expected,) = run(source, ids, mask)
            y = model.run({"ids": ids, "mask": mask})
            np.testing.assert_allclose(y[:, :seen], expected[:, :seen], rtol=1e-4, atol=1e-5)
