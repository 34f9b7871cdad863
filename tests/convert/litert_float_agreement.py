"""Hold a float model that the TFLite frontend reads against LiteRT.

Bound: 1e-6 times the largest absolute value of an output, eight units in the last place of a
float32 there. Comparisons and moves agree exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.builders.spec import Spec
from tests.builders.tflite_model import ModelBuilder
from tests.builders.tflite_run import run
from tests.convert.litert_agreement import read, run_converted
from tests.oracle.graph import run_graph

BOUND = 1e-6
F = np.float32


def floats(*shape: int) -> Spec:
    return Spec(shape, F)


def numbers(seed: int, shape: Sequence[int], low: float = -4, high: float = 4) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, tuple(shape)).astype(F)


def agree(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), what
    if ours.dtype != F:
        np.testing.assert_array_equal(ours, theirs, what)
        return
    largest = float(np.abs(theirs).max(initial=0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=BOUND * largest, err_msg=what)


def check(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Read, run as a graph and on the device; both must agree with LiteRT."""
    expected = run(model, *inputs)
    for what, actual in (
        ("graph", run_graph(read(model), *inputs)),
        ("device", run_converted(model, *inputs)),
    ):
        for ours, theirs in zip(actual, expected, strict=True):
            agree(ours, theirs, what)
    return expected


def model_of(
    code: str,
    operands: Sequence[Spec | np.ndarray],
    outputs: Sequence[Spec],
    options: object | None = None,
) -> bytes:
    """Any operator: Specs are inputs of the model, arrays are constants."""
    b = ModelBuilder()
    indices = [b.tensor(x) if isinstance(x, Spec) else b.constant(x) for x in operands]
    inputs = [i for i, x in zip(indices, operands, strict=True) if isinstance(x, Spec)]
    made = [b.tensor(y) for y in outputs]
    b.operator(code, indices, made, options)
    return b.build(inputs, made)
