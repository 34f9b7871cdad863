"""Trained models: the bits of the scalar tier, layer on layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from tests.engine_numba.engines import random_feed, run_on_both

INPUTS = {"ad01": 5, "kws": 5, "vww": 3, "resnet8": 3, "mobilenet_v2": 2}
FLOAT = {"ad01": 3, "kws": 3, "vww": 2, "resnet8": 2}


def check(path: Path, count: int) -> None:
    file = convert(path).data
    rng = np.random.default_rng(count)
    with edgeinfer.load(file) as model:
        feeds = [random_feed(model, rng) for _ in range(count)]
    run_on_both(file, *feeds)


@pytest.mark.parametrize("name", INPUTS)
def test_bits_of_int8_models(name: str, models_dir: Path) -> None:
    check(models_dir / f"{name}_int8.tflite", INPUTS[name])


@pytest.mark.parametrize("name", FLOAT)
def test_bits_of_float_models(name: str, models_dir: Path) -> None:
    check(models_dir / f"{name}_fp32.tflite", FLOAT[name])


def test_bits_of_the_example(digits_dir: Path) -> None:
    check(digits_dir / "digits_int8.onnx", 3)
