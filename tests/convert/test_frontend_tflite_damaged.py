"""Damaged and hostile .tflite files: an error in a sentence or a sound graph, and soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import flatbuffers
import numpy as np
import pytest
import tflite as tflite_schema
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.convert.frontends import read
from edgeinfer.convert.graph import check_graph
from edgeinfer.errors import ConversionError
from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders import tflite_shape_ops as shape_models
from tests.builders.spec import Quant
from tests.builders.tflite_edit import edited
from tests.builders.tflite_model import ModelBuilder
from tests.convert.litert_agreement import int8
from tests.count_calls import count_calls

CONV = matmul_models.conv_2d(
    int8((1, 4, 4, 2)),
    np.arange(36, dtype=np.int8).reshape(2, 3, 3, 2),
    Quant((0.1, 0.2)),
    np.array([5, -5], np.int32),
    int8((1, 4, 4, 2)),
)


def movements() -> bytes:
    """A chain of operators that read constants: axes, sizes, masks."""
    b = ModelBuilder()
    shapes = [(2, 4, 6), (2, 3, 3), (3, 2, 3), (5, 4, 3), (60,)]
    tensors = [b.tensor(int8(shape)) for shape in shapes]

    def constant(values: object) -> int:
        return b.constant(np.asarray(values, np.int32))

    cut = [constant([0, 1, 0]), constant([2, 4, 6]), constant([1, 1, 2])]
    b.operator("STRIDED_SLICE", [tensors[0], *cut], [tensors[1]], schema.StridedSliceOptionsT())
    b.operator("TRANSPOSE", [tensors[1], constant([1, 0, 2])], [tensors[2]])
    b.operator("PAD", [tensors[2], constant([[1, 1], [0, 2], [0, 0]])], [tensors[3]])
    b.operator("RESHAPE", [tensors[3], constant([-1])], [tensors[4]])
    return b.build([tensors[0]], [tensors[4]])


MOVES = movements()


def read_soundly(data: bytes) -> None:
    """Read; an error must be ours, a graph must be sound, and neither may take long."""
    begun = time.monotonic()
    try:
        check_graph(read("tflite", data, "model.tflite"))
    except ConversionError as error:
        assert str(error).startswith("model.tflite is not a whole TFLite model: ")
    assert time.monotonic() - begun < 5


def refuse(data: bytes, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        read("tflite", data, "model.tflite")


def test_the_models_are_sound_before_they_are_damaged() -> None:
    for model in (CONV, MOVES):
        assert read("tflite", model, "model.tflite").problems == []


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"PK\3\4" + bytes(64), b"\x1c\0\0\0TFL2" + bytes(64), bytes(1000)]
)
def test_what_is_not_a_model_is_refused(data: bytes) -> None:
    refuse(data, "does not begin as a TFLite model does")


@pytest.mark.parametrize("model", [CONV, MOVES], ids=["conv", "moves"])
def test_every_truncation_is_refused_or_sound(model: bytes) -> None:
    for length in range(len(model)):
        read_soundly(model[:length])
    refuse(model[: len(model) // 2], "is not a whole TFLite model")


@pytest.mark.parametrize("model", [CONV, MOVES], ids=["conv", "moves"])
def test_every_flipped_bit_is_refused_or_sound(model: bytes) -> None:
    rng = np.random.default_rng(1)
    for position in range(len(model)):
        damaged = bytearray(model)
        damaged[position] ^= 1 << int(rng.integers(8))
        read_soundly(bytes(damaged))


@settings(max_examples=1000)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF])),
        min_size=1,
        max_size=6,
    ),
    model=st.sampled_from([CONV, MOVES]),
)
def test_overwritten_bytes_are_refused_or_sound(changes, model: bytes) -> None:
    damaged = bytearray(model)
    for position, value in changes:
        damaged[position % len(model)] = value
    read_soundly(bytes(damaged))


@settings(max_examples=100)
@given(position=st.integers(0, 1 << 24), bit=st.integers(0, 7))
def test_flipped_bits_of_a_trained_model_are_refused_or_sound(models_dir, position, bit) -> None:
    model = (models_dir / "kws_int8.tflite").read_bytes()
    damaged = bytearray(model)
    damaged[position % len(model)] ^= 1 << bit
    read_soundly(bytes(damaged))


def subgraph(change: Callable[[schema.SubGraphT], None]) -> bytes:
    return edited(CONV, lambda model: change(model.subgraphs[0]))


def tensor(index: int, **fields: object) -> bytes:
    def change(graph: schema.SubGraphT) -> None:
        for name, value in fields.items():
            setattr(graph.tensors[index], name, value)

    return subgraph(change)


def operator(**fields: object) -> bytes:
    def change(graph: schema.SubGraphT) -> None:
        for name, value in fields.items():
            setattr(graph.operators[0], name, value)

    return subgraph(change)


def model(**fields: object) -> bytes:
    def change(objects: schema.ModelT) -> None:
        for name, value in fields.items():
            setattr(objects, name, value)

    return edited(CONV, change)


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (model(version=2), "schema version 2"),
        (model(subgraphs=[]), "no subgraph"),
        (subgraph(lambda g: setattr(g, "outputs", [])), "no outputs"),
        (subgraph(lambda g: setattr(g, "outputs", [9])), "the model's outputs name tensor 9 of 4"),
        (subgraph(lambda g: setattr(g, "inputs", [-1])), "the model's inputs name tensor -1 of 4"),
        (subgraph(lambda g: setattr(g, "inputs", [0, 0])), "is an input twice"),
        (subgraph(lambda g: setattr(g, "inputs", [0, 1])), "input 't1' is a constant"),
        (subgraph(lambda g: setattr(g, "inputs", [])), "before anything computes it"),
        (operator(inputs=[0, 1, 77]), "operator 0's operands name tensor 77 of 4"),
        (operator(inputs=[0, -2]), "operator 0's operands name tensor -2 of 4"),
        (operator(outputs=[3, 0]), "writes 't0', which has a value"),
        (operator(outputs=[3, 1]), "writes 't1', which has a value"),
        (operator(outputs=[3, 3]), "writes 't3', which has a value"),
        (operator(inputs=[3, 1, 2]), r"used by operator 0 \(CONV_2D\) before anything computes it"),
        (operator(opcodeIndex=4), "operator code 4 of 1"),
        (operator(builtinOptionsType=2), "has the options of another operator"),
        (tensor(1, shape=[2, 3, 3, 3]), "54 bytes, and its buffer has 36"),
        (tensor(1, shape=[1 << 30] * 8), "and its buffer has 36"),
        (tensor(1, type=schema.TensorType.INT16), "72 bytes, and its buffer has 36"),
        (tensor(0, shape=[1, -4, 4, 2]), r"has shape \[1, -4, 4, 2\]"),
        (tensor(0, shape=[1] * 9), "has 9 axes"),
        (tensor(0, buffer=50), "buffer 50 of"),
    ],
)
def test_contradictions_are_named(damaged: bytes, reason: str) -> None:
    refuse(damaged, reason)


def test_an_external_buffer_ends_inside_of_the_file() -> None:
    def move_out(objects: schema.ModelT) -> None:
        buffer = objects.buffers[objects.subgraphs[0].tensors[1].buffer]
        buffer.data, buffer.offset, buffer.size = None, 64, 1 << 40

    refuse(edited(CONV, move_out), "ends behind the file's end")


def test_an_option_is_finite() -> None:
    b = ModelBuilder()
    xi, yi = b.tensor(int8((4,))), b.tensor(int8((4,)))
    b.operator("LEAKY_RELU", [xi], [yi], schema.LeakyReluOptionsT(alpha=float("nan")))
    refuse(b.build([xi], [yi]), "has Alpha nan")


def shared_name(copies: int, name_bytes: int) -> bytes:
    """A model of `copies` inputs whose tensors are all one table, with a long name."""
    b = flatbuffers.Builder(1024)
    name = b.CreateString("x" * name_bytes)
    tflite_schema.TensorStart(b)
    tflite_schema.TensorAddName(b, name)
    one = tflite_schema.TensorEnd(b)
    b.StartVector(4, copies, 4)
    for _ in range(copies):
        b.PrependUOffsetTRelative(one)
    tensors = b.EndVector()
    indices = b.CreateNumpyVector(np.arange(copies, dtype=np.int32))
    tflite_schema.SubGraphStart(b)
    tflite_schema.SubGraphAddTensors(b, tensors)
    tflite_schema.SubGraphAddInputs(b, indices)
    tflite_schema.SubGraphAddOutputs(b, indices)
    graph = tflite_schema.SubGraphEnd(b)
    b.StartVector(4, 1, 4)
    b.PrependUOffsetTRelative(graph)
    graphs = b.EndVector()
    tflite_schema.BufferStart(b)
    buffer = tflite_schema.BufferEnd(b)
    b.StartVector(4, 1, 4)
    b.PrependUOffsetTRelative(buffer)
    buffers = b.EndVector()
    tflite_schema.ModelStart(b)
    tflite_schema.ModelAddVersion(b, 3)
    tflite_schema.ModelAddSubgraphs(b, graphs)
    tflite_schema.ModelAddBuffers(b, buffers)
    b.Finish(tflite_schema.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def test_tables_that_share_a_long_name_are_refused_soon() -> None:
    assert read("tflite", shared_name(3, 10), "model.tflite").problems == []
    begun = time.monotonic()
    refuse(shared_name(50_000, 200_000), "add up to many times its size")
    assert time.monotonic() - begun < 5


def chain_of(length: int) -> bytes:
    b = ModelBuilder()
    tensors = [b.tensor(int8((4,))) for _ in range(length + 1)]
    for x, y in pairwise(tensors):
        b.operator("RELU", [x], [y])
    return b.build(tensors[:1], tensors[-1:])


def test_many_operators_take_linear_time() -> None:
    short, long = chain_of(500), chain_of(4000)
    few = count_calls(lambda: read("tflite", short, "model.tflite"))
    assert count_calls(lambda: read("tflite", long, "model.tflite")) < 8.5 * few
    assert len(read("tflite", long, "model.tflite").nodes) == 4000


@pytest.mark.parametrize("size", [1 << 30, (1 << 31) - 1])
def test_a_huge_result_is_a_problem_and_costs_nothing(size: int) -> None:
    data = shape_models.pad(int8((4, 4)), int8((4, 4)), [[0, size], [0, 0]])
    (problem,) = read("tflite", data, "model.tflite").problems
    assert "above 2 GiB" in problem.reason
