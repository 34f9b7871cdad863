"""What the tests against LiteRT share.

Each test says by `expect_delegated` who runs the operator in LiteRT's default path: XNNPACK or
TFLite's builtin kernel. Should a later LiteRT change that, the test says so first.
"""

from __future__ import annotations

import numpy as np

from tests.builders.spec import Quant, Spec
from tests.builders.tflite_run import delegated, run


def spec(shape, scale, zero_point, dtype=np.int8) -> Spec:
    """A tensor quantised per tensor."""
    return Spec(tuple(shape), dtype, Quant(scale, zero_point))


def check(model: bytes, inputs, expected: np.ndarray, *, expect_delegated: bool) -> None:
    """LiteRT's first output has exactly these bits, and the expected side computed it."""
    assert delegated(model) == expect_delegated
    np.testing.assert_array_equal(run(model, *inputs)[0], expected)
