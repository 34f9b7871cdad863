"""Damaged and hostile .onnx files: an error in a sentence or a sound graph, and soon."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.convert.frontends import read
from edgeinfer.convert.graph import check_graph
from edgeinfer.errors import ConversionError
from tests.builders import onnx_qdq_ops as qdq
from tests.builders import onnx_qlinear_ops as qlinear
from tests.builders.spec import Quant
from tests.convert.onnxruntime_agreement import Chain, stored
from tests.count_calls import count_calls

CONV = qdq.weighted(
    "Conv",
    stored((1, 2, 4, 4)),
    np.arange(36, dtype=np.int8).reshape(2, 2, 3, 3),
    Quant((0.1, 0.2)),
    np.array([5, -5], np.int32),
    stored((1, 2, 4, 4), np.int8, 0.2),
    pads=[1, 1, 1, 1],
)
GEMM = qlinear.gemm(
    stored((2, 6), np.uint8),
    np.arange(24, dtype=np.int8).reshape(4, 6),
    Quant(0.01),
    np.arange(4, dtype=np.int32),
    stored((2, 4), np.uint8, 0.2),
)


def movements() -> bytes:
    """A chain of operators that read constants: axes, sizes, masks."""
    c = Chain()

    def integers(*values: int) -> str:
        return c.builder.constant(np.array(values))

    value = c.input(stored((2, 4, 6)))
    value = c.node("Slice", value, integers(1, 0), integers(4, 6), integers(1, 2), integers(1, 2))
    value = c.node("Transpose", value, perm=[1, 0, 2])
    value = c.node("Pad", value, integers(1, 0, 0, 1, 2, 0))
    value = c.node("Reshape", value, integers(-1))
    c.output(value, stored((60,)))
    return c.build()


MOVES = movements()
MODELS = [CONV, GEMM, MOVES]
NAMES = ["conv", "gemm", "moves"]


def read_soundly(data: bytes) -> None:
    """Read; an error must be ours, a graph must be sound, and neither may take long."""
    begun = time.monotonic()
    try:
        check_graph(read("onnx", data, "model.onnx"))
    except ConversionError as error:
        assert str(error).startswith("model.onnx ")
    assert time.monotonic() - begun < 5


def refuse(data: bytes, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        read("onnx", data, "model.onnx")


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_the_models_are_sound_before_they_are_damaged(model: bytes) -> None:
    assert read("onnx", model, "model.onnx").problems == []


@pytest.mark.parametrize("data", [b"", b"onnx", b"PK\3\4" + bytes(64), bytes(1000), b"\x08\x08"])
def test_what_is_not_a_model_is_refused(data: bytes) -> None:
    refuse(data, "is not a whole ONNX model")


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_truncation_is_refused_or_sound(model: bytes) -> None:
    for length in range(len(model)):
        read_soundly(model[:length])
    refuse(model[: len(model) // 2], "is not a whole ONNX model")


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_flipped_bit_is_refused_or_sound(model: bytes) -> None:
    rng = np.random.default_rng(1)
    for position in range(len(model)):
        damaged = bytearray(model)
        damaged[position] ^= 1 << int(rng.integers(8))
        read_soundly(bytes(damaged))


@settings(max_examples=500)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6
    ),
    model=st.sampled_from(MODELS),
)
def test_overwritten_bytes_are_refused_or_sound(changes, model: bytes) -> None:
    damaged = bytearray(model)
    for position, value in changes:
        damaged[position % len(model)] = value
    read_soundly(bytes(damaged))


def chain_of(length: int) -> bytes:
    c = Chain()
    spec = stored((4,))
    value = c.input(spec)
    for _ in range(length):
        value = c.requantized(c.node("Neg", value), spec)
    c.output(value, spec)
    return c.build()


def test_many_operators_take_linear_time() -> None:
    short, long = chain_of(100), chain_of(800)
    few = count_calls(lambda: read("onnx", short, "model.onnx"))
    assert count_calls(lambda: read("onnx", long, "model.onnx")) < 8.5 * few
    assert len(read("onnx", long, "model.onnx").nodes) >= 800


@pytest.mark.parametrize("size", [1 << 31, 1 << 62])
def test_a_huge_result_is_a_problem_and_costs_nothing(size: int) -> None:
    c = Chain()
    pads = c.builder.constant(np.array([0, size]))
    c.output(c.node("Pad", c.input(stored((4,))), pads), stored((None,)))
    (problem, *_) = read("onnx", c.build(), "model.onnx").problems
    assert "above 2 GiB" in problem.reason


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile", "Range", "Pad"])
def test_constants_of_any_size_cost_nothing(operator: str) -> None:
    big = np.array([1 << 40])
    operands = {
        "ConstantOfShape": [big],
        "Expand": [np.array([1], np.float32), big],
        "Tile": [np.array([1], np.float32), big],
        "Range": [np.array(0), np.array(1 << 40), np.array(1)],
        "Pad": [np.array([1], np.float32), np.array([0, 1 << 40])],
    }[operator]
    names = [f"c{i}" for i in range(len(operands))]
    constants = [numpy_helper.from_array(v, n) for n, v in zip(names, operands, strict=True)]
    nodes = [
        helper.make_node(operator, names, ["big"]),
        helper.make_node("ArgMax", ["big"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.INT64, [])], constants
    )
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    begun = time.monotonic()
    problems = read("onnx", model.SerializeToString(), "model.onnx").problems
    assert "256 MiB" in problems[0].reason
    assert time.monotonic() - begun < 5


def test_a_name_that_is_no_text_is_refused() -> None:
    model = onnx.load_model_from_string(MOVES)
    data = model.SerializeToString().replace(b"Transpose", b"Trans\xff\xffse")
    refuse(data, "is not a whole ONNX model")
