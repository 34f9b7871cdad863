"""What is refused of a custom operator's node when a file is opened, whatever the process has
registered: one change of a good operation per rule, and the message that names it."""

from __future__ import annotations

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Placement, Program, Step, Value
from edgeinfer.convert.write import write_model
from tests.builders.custom_op import file_of, scale_operation
from tests.ops.changes import Change, data, param, without

BLOB, X = 0, 1
HEAD, RECORD = 72, 48


def byte(position: int, value: int) -> Change:
    def edit(blob: np.ndarray) -> np.ndarray:
        blob[position] = value
        return blob

    return data(BLOB, edit)


def word(position: int, value: int) -> Change:
    def edit(blob: np.ndarray) -> np.ndarray:
        blob[position : position + 4] = np.array([value], "<u4").view(np.uint8)
        return blob

    return data(BLOB, edit)


def name(text: bytes) -> Change:
    def edit(blob: np.ndarray) -> np.ndarray:
        blob[:64] = np.frombuffer(text.ljust(64, b"\0"), np.uint8)
        return blob

    return data(BLOB, edit)


def not_constant(operation: Operation) -> None:
    operation.inputs[BLOB] = Value("blob", (400,), "uint8")


def as_dtype(dtype: str) -> Change:
    return data(BLOB, lambda blob: np.frombuffer(blob.tobytes() + b"\0" * 8, dtype)[:40])


# The records of scale, offsets and mode begin at 72, 120 and 168: in each, kind is at 32, count at
# 36, offset at 40.
REFUSALS: list[tuple[Change, str]] = [
    (not_constant, "blob"),
    (as_dtype("int8"), "blob is int8|blob.*int8"),
    (data(BLOB, lambda blob: blob[:71]), "blob: has 71 bytes, must have at least 72"),
    (name(b""), "operator's name must have 1 to 63"),
    (name(b"a b"), "operator's name must have 1 to 63"),
    (name(b"a\n"), "operator's name must have 1 to 63"),
    (name("é".encode()), "operator's name must have 1 to 63"),
    (name(b"x" * 64), "operator's name must have 1 to 63"),
    (byte(63, 1), "padded with zeros"),
    (word(64, 65), "65 attributes, must be at most 64"),
    (word(64, 64), "64 attributes, must be at most 64 and inside"),
    (word(68, 1), "reserved must be 0"),
    (byte(72, 0), "attribute 0: its name"),
    (byte(72 + 31, 1), "attribute 0: its name"),
    (word(72 + 32, 0), "attribute 0: kind is 0"),
    (word(72 + 32, 4), "attribute 0: kind is 4"),
    (word(72 + 44, 1), "attribute 0: kind is 2 and reserved 1"),
    (word(120 + 40, 4), "attribute 1: 16 bytes at offset 4 must lie at a multiple of 8"),
    (word(120 + 40, 0xFFFFFFF8), "attribute 1: 16 bytes at offset 4294967288 must lie"),
    (word(120 + 36, 0xFFFFFFFF), "attribute 1: 34359738360 bytes"),
    (word(168 + 36, 0), "attribute 2: its text must end in a zero byte"),
    (word(168 + 36, 3), "attribute 2: its text must end in a zero byte"),
    (without(X), "x"),
    (param("scratch_bytes", -1), "scratch_bytes: is -1"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS)
def test_a_damaged_node_is_refused_when_the_file_is_opened(change: Change, message: str) -> None:
    operation = scale_operation()
    change(operation)
    with pytest.raises(edgeinfer.ModelFileError, match=message):
        edgeinfer.load(file_of(operation, 64))


def test_a_good_node_opens_and_its_session_names_the_operator() -> None:
    with pytest.raises(
        edgeinfer.CustomOperatorError,
        match=r"node 0 'node' \(custom\): no custom operator 'Scale' is registered.*"
        r"ei_custom_op_register.*edgeinfer\.custom_op",
    ):
        edgeinfer.load(file_of(scale_operation()))


def test_scratch_memory_is_part_of_what_the_file_promises() -> None:
    with pytest.raises(
        edgeinfer.ModelFileError, match="scratch_bytes is 59, its operators need 60"
    ):
        edgeinfer.load(file_of(scale_operation(), 59))


def test_steps_of_some_rows_are_refused() -> None:
    operation = scale_operation((4, 5))
    x = operation.inputs[X]
    assert x is not None
    program = Program("main", [x], operation.outputs, [operation], 80)
    plan = plan_program(program)
    plan.steps = [Step(0, 0, 2), Step(0, 2, 4)]
    for buffer in plan.buffers:
        buffer.first_step, buffer.last_step = 0, 1
    with pytest.raises(edgeinfer.ModelFileError, match="rows 0 to 2 must be all of the output's 4"):
        edgeinfer.load(write_model([(program, plan)], {}))


def test_a_ring_is_refused() -> None:
    """An input of which only some rows are held: made by one operator, read by the other."""
    operation = scale_operation((4, 5))
    source, x = Value("source", (4, 5), "float32"), operation.inputs[1]
    assert x is not None
    add_up = Operation("cumsum", [source], [x], {"exclusive": 0, "reverse": 0}, "add_up")
    program = Program("main", [source], operation.outputs, [add_up, operation], 80)
    plan = plan_program(program)
    placed = plan.placements[x]
    plan.placements[x] = Placement(placed.buffer, placed.offset, 2)
    with pytest.raises(edgeinfer.ModelFileError, match=r"node 1 .*x: .*whole"):
        edgeinfer.load(write_model([(program, plan)], {}))


def test_the_blob_is_what_the_format_says() -> None:
    """Written by hand from docs/format.md."""
    blob = scale_operation().inputs[BLOB]
    assert blob is not None and blob.data is not None

    def record(text: bytes, kind: int, count: int, offset: int) -> bytes:
        return text.ljust(32, b"\0") + np.array([kind, count, offset, 0], "<u4").tobytes()

    expected = b"Scale".ljust(64, b"\0") + np.array([3, 0], "<u4").tobytes()
    begin = HEAD + 3 * RECORD
    expected += record(b"scale", 2, 1, begin) + record(b"offsets", 1, 2, begin + 8)
    expected += record(b"mode", 3, 7, begin + 24)
    expected += np.array([1.5], "<f8").tobytes() + np.array([1, -2], "<i8").tobytes()
    expected += b"linear\0\0"
    assert blob.data.tobytes() == expected
