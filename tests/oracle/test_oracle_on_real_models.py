"""Whole models: the oracle gives LiteRT's bits from the input to the output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.builders.tflite_run import interpreter
from tests.oracle.strategies import integers
from tests.oracle.tflite_oracle import TfliteOracle

MODELS = ["ad01_int8", "kws_int8", "resnet8_int8", "vww_int8", "mobilenet_v2_int8"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_whole_model(name: str, models_dir: Path) -> None:
    model = (models_dir / f"{name}.tflite").read_bytes()
    oracle, litert = TfliteOracle(model), interpreter(model)
    detail = litert.get_input_details()[0]
    for seed in range(1, 4):
        x = integers(seed, tuple(detail["shape"]))
        litert.set_tensor(detail["index"], x)
        litert.invoke()
        expected = [litert.get_tensor(d["index"]) for d in litert.get_output_details()]
        for actual, wanted in zip(oracle.run(x), expected, strict=True):
            np.testing.assert_array_equal(actual, wanted)
