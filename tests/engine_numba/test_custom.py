"""Custom operators: a Python function runs on both engines, code in C on the core alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.lower.custom import encode_blob
from edgeinfer.convert.program import Operation, Value
from edgeinfer.convert.write import write_model
from edgeinfer.custom import CustomOp, find
from tests.builders.custom_op import file_of, scale_operation
from tests.engine_numba.engines import run_on_both
from tests.kernels.run_operation import plan_whole
from tests.ops import test_custom_contracts
from tests.ops.changes import Change

NAME = "WeighedSum"


@pytest.fixture
def operator() -> Iterator[CustomOp]:
    """y = a * factor + b * weights[...], by way of scratch, where b's scale counts too."""

    @edgeinfer.custom_op(
        NAME,
        "void(float32[:, :], int8[:], float32[:, :], float64, float64[:], float32, int32, "
        "float32[:])",
        attributes={"factor": 2.0, "weights": [1.0, 0.25]},
        scratch=lambda shapes, attributes: shapes[1][0],
    )
    def weighed_sum(
        a: Any, b: Any, y: Any, factor: Any, weights: Any, b_scale: Any, b_zero_point: Any,
        scratch: Any,
    ) -> None:  # fmt: skip
        if a[0, 0] > 1e30:
            raise ValueError("too large")
        for j in range(b.size):
            scratch[j] = b_scale * (b[j] - b_zero_point)
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                y[i, j] = a[i, j] * factor + scratch[j] * weights[j % weights.size]

    found = find(NAME)
    assert found is not None
    yield found
    edgeinfer.unregister_custom_op(NAME)


def file(operator: CustomOp, **given: Any) -> bytes:
    blob = encode_blob(operator, operator.fill(given))
    inputs = [
        Value("blob", blob.shape, "uint8", data=blob),
        Value("a", (3, 5), "float32"),
        Value("b", (5,), "int8", scale=0.5, zero_point=-3),
    ]
    params: dict[str, int | float] = {"scratch_bytes": 20}
    return file_of(Operation("custom", [*inputs], [Value("y", (3, 5), "float32")], params, "node"))


def feed() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {
        "a": rng.standard_normal((3, 5)).astype(np.float32),
        "b": rng.integers(-128, 128, 5).astype(np.int8),
    }


def test_bits_of_a_python_function(operator: CustomOp) -> None:
    x = feed()
    y = run_on_both(file(operator, weights=[0.5, 3.0, -1.0]), x, x)["y"]
    weights = np.array([0.5, 3.0, -1.0, 0.5, 3.0])
    b = np.float32(0.5) * (x["b"].astype(np.float32) + 3)
    np.testing.assert_allclose(y, x["a"] * 2.0 + b * weights, rtol=1e-6)


def test_lists_may_be_empty() -> None:
    """Their type is the declared one: an empty list has no number that would tell it."""

    @edgeinfer.custom_op(
        "Poly",
        "void(float32[:], float32[:], float64[:], int64[:])",
        attributes={"terms": list[float], "axes": list[int]},
    )
    def poly(x: Any, y: Any, terms: Any, axes: Any) -> None:
        for i in range(x.size):
            y[i] = x[i] * (1 + axes.size)
            for term in terms:
                y[i] += term

    try:
        found = find("Poly")
        assert found is not None
        x = np.arange(4, dtype=np.float32)
        for terms, axes in (([], []), ([0.5, 2.0], []), ([], [3])):
            blob = encode_blob(found, found.fill({"terms": terms, "axes": axes}))
            inputs: list[Value | None] = [
                Value("blob", blob.shape, "uint8", data=blob),
                Value("x", (4,), "float32"),
            ]
            outputs = [Value("y", (4,), "float32")]
            data = file_of(Operation("custom", inputs, outputs, {"scratch_bytes": 0}, "node"))
            y = run_on_both(data, {"x": x}, {"x": x})["y"]
            np.testing.assert_array_equal(y, x * (1 + len(axes)) + sum(terms))
    finally:
        edgeinfer.unregister_custom_op("Poly")


def test_an_exception_ends_the_run(operator: CustomOp) -> None:
    x = feed()
    x["a"][0, 0] = 2e30
    with edgeinfer.load(file(operator), engine="numba") as model:
        with pytest.raises(edgeinfer.InputError, match="too large"):
            model.run(x)
        model.run(feed())


@pytest.mark.parametrize(("change", "message"), test_custom_contracts.REFUSALS)
def test_damaged_nodes_are_refused(change: Change, message: str) -> None:
    """Before it is asked whether the operator is registered, which it is not."""
    operation = scale_operation()
    change(operation)
    with pytest.raises(edgeinfer.ModelFileError):
        edgeinfer.load(write_model([plan_whole(operation)], {}), engine="numba")


def test_other_attributes_shapes_and_names_are_refused(operator: CustomOp) -> None:
    good = file(operator)
    edgeinfer.unregister_custom_op(NAME)
    with pytest.raises(edgeinfer.CustomOperatorError, match="not registered"):
        edgeinfer.load(good, engine="numba")
    edgeinfer.register_custom_op(NAME, inputs=["float32[:, :]"], output="float32[:, :]")
    with pytest.raises(edgeinfer.UnsupportedError, match="is C code"):
        edgeinfer.load(good, engine="numba")
    edgeinfer.unregister_custom_op(NAME)

    @edgeinfer.custom_op(NAME, "void(float32[:, :], float32[:, :])")
    def other(a: Any, y: Any) -> None:
        y[0, 0] = a[0, 0]

    with pytest.raises(edgeinfer.CustomOperatorError, match="2 inputs, must have 1"):
        edgeinfer.load(good, engine="numba")
