"""Operator sets from 11 on: where an operator's inputs, outputs or attributes changed, both forms.

The newest form of every operator is held by ONNX's own node tests (tests/onnx_standard). Here are
the forms before it, against onnxruntime; that none is missing is computed from onnx's schemas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgeinfer.convert.frontends.onnx import HANDLERS
from tests.convert.onnx_float_agreement import check_node

OLDEST = 11
F = np.float32
I64 = np.int64


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(F)


X = floats(2, 3, 4)
IMAGE = floats(1, 2, 6, 6)
BYTES = np.random.default_rng(1).integers(0, 9, (2, 3)).astype(np.uint8)
SCALE, POINT = np.array(0.25, F), np.array(3, np.uint8)
PER_CHANNEL: list[np.ndarray] = [np.array([0.5, 0.25, 0.125], F), np.array([1, 2, 3], np.uint8)]
HEADS = [floats(1, 2, 3, 4, seed=i) for i in range(3)]
POOL = {"kernel_shape": [2, 2], "strides": [2, 1]}
SCATTER = [X, np.array([[[0, 2, 1, 0]]], I64), floats(1, 1, 4, seed=1)]
SCATTER_ND = [X, np.array([[1, 0], [0, 2]], I64), floats(2, 4, seed=1)]
BATCH = [*(np.abs(floats(3, seed=i)) + F(0.1) for i in range(1, 5))]

Case = tuple[str, int, Sequence[np.ndarray | None], dict[str, Any]]

REDUCTIONS = ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
              "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"]  # fmt: skip

CASES: list[Case] = [
    *((op, 11, [X], {"axis": 1}) for op in ("ArgMax", "ArgMin")),
    ("Attention", 23, HEADS, {}),
    ("Attention", 24, HEADS, {"is_causal": 1}),
    ("AveragePool", 11, [IMAGE], POOL),
    ("BatchNormalization", 11, [X, *BATCH], {"epsilon": 1e-3}),
    ("Cast", 13, [X], {"to": TensorProto.INT32}),
    ("Cast", 19, [X], {"to": TensorProto.INT32}),
    ("CastLike", 15, [X, np.array([1], I64)], {}),
    ("CastLike", 19, [X, np.array([1], I64)], {}),
    ("Clip", 11, [X, np.array(-1, F), np.array(1, F)], {}),
    ("Clip", 12, [X, None, np.array(1, F)], {}),
    ("DequantizeLinear", 11, [BYTES, SCALE, POINT], {}),
    ("DequantizeLinear", 13, [BYTES, *PER_CHANNEL], {"axis": 1}),
    ("DequantizeLinear", 21, [BYTES, SCALE, POINT], {}),
    ("Dropout", 11, [X], {"ratio": 0.3}),
    ("GatherND", 11, [X, np.array([[0, 1], [1, 2]], I64)], {}),
    ("Hardmax", 11, [X], {"axis": 1}),
    ("LogSoftmax", 11, [X], {"axis": 1}),
    ("LpPool", 11, [IMAGE], POOL),
    ("Pad", 11, [X, np.array([0, 1, 0, 0, 0, 2], I64), np.array(1.5, F)], {}),
    ("QuantizeLinear", 11, [X, SCALE, POINT], {}),
    ("QuantizeLinear", 13, [X, *PER_CHANNEL], {"axis": 1}),
    ("QuantizeLinear", 19, [X, SCALE, POINT], {}),
    ("QuantizeLinear", 21, [X, SCALE], {"output_dtype": TensorProto.INT8}),
    *((op, 11, [np.abs(X)], {"axes": [0, -1], "keepdims": 0}) for op in REDUCTIONS),
    ("Reshape", 13, [X, np.array([0, -1], I64)], {}),
    ("Resize", 11, [IMAGE, np.zeros(0, F), np.array([1, 1, 2, 2], F)], {"mode": "linear"}),
    ("ScatterElements", 11, SCATTER, {"axis": 1}),
    ("ScatterND", 13, SCATTER_ND, {}),
    ("Softmax", 11, [X], {"axis": 1}),
    ("SpaceToDepth", 13, [IMAGE], {"blocksize": 2}),
    ("Split", 11, [X], {"axis": 2, "split": [1, 3]}),
    ("Split", 13, [X, np.array([1, 3], I64)], {"axis": 2}),
    ("Squeeze", 11, [floats(1, 3, 1)], {"axes": [0, -1]}),
    ("Unsqueeze", 11, [X], {"axes": [0, -1]}),
]
"""Operator, operator set, operands of which the first is given at run time, attributes."""

OUTPUTS = {"Split": 2}


@pytest.mark.parametrize("case", CASES, ids=[f"{op}-{opset}" for op, opset, *_ in CASES])
def test_form_of_an_older_operator_set(case: Case) -> None:
    op, opset, operands, attrs = case
    given = (0, 1, 2) if op == "Attention" else (0,)
    outputs = OUTPUTS.get(op, 1)
    check_node(op, operands, given=given, outputs=outputs, opset=opset, attrs=attrs)


def changes() -> Iterator[tuple[str, list[int]]]:
    """Operators that are read, and the first operator set of each of their forms since 11."""
    forms: dict[str, dict[int, tuple[object, ...]]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        # A deprecated form, as GroupNormalization's of 18, is refused by onnx's own checker.
        if schema.domain == "" and schema.name in HANDLERS and not schema.deprecated:
            form = (
                [i.name for i in schema.inputs],
                sorted(schema.attributes),
                [o.name for o in schema.outputs],
            )
            forms.setdefault(schema.name, {})[schema.since_version] = form
    for name, by_version in forms.items():
        begins: list[int] = []
        last = None
        for version in sorted(by_version):
            if by_version[version] != last or version <= OLDEST:
                # What was before the oldest operator set is not read any more.
                begins = [b for b in begins if version > OLDEST] + [version]
            last = by_version[version]
        yield name, begins


def test_every_older_form_has_a_case() -> None:
    tried = {(op, opset) for op, opset, *_ in CASES}
    untried = [
        (name, first, behind - 1)
        for name, begins in changes()
        for first, behind in pairwise(begins)
        if not any((name, n) in tried for n in range(max(first, OLDEST), behind))
    ]
    assert untried == []
    assert sum(len(begins) > 1 for _, begins in changes()) >= 30
