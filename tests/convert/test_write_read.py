"""Writer and reader against each other, and both against the C core."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.budget import MAX_THREADS, session_bytes_of
from edgeinfer.convert.model_file import FileTensor, ModelFile
from edgeinfer.convert.plan import plan_program, session_bytes
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.errors import ConversionError, ModelFileError, ModelVersionError
from tests.convert.random_programs import add, evaluate, lut8, programs, random_inputs
from tests.core.edge_file import EdgeFile, check
from tests.ops import test_four_bit_contracts


def write(*programs: Program, **metadata: Any) -> bytes:
    return write_model([(program, plan_program(program)) for program in programs], metadata)


def small_program(name: str = "main", scale: float = 0.5) -> Program:
    x = Value("x", (1, 4, 4, 2), "int8", scale=scale, zero_point=-3)
    y = Value("y", (1, 4, 4, 2), "int8", scale=0.25, zero_point=4)
    z = Value("z", (1, 4, 4, 2), "int8")
    return Program(name, [x], [z], [lut8(x, y, 1), add(x, y, z)])


def assert_same_tensor(found: FileTensor, value: Value) -> None:
    assert found.scheme == value.scheme
    assert (found.name, found.shape, found.dtype) == (value.name, value.shape, value.dtype)
    assert (found.scale, found.zero_point) == (np.float32(value.scale), value.zero_point)
    assert (found.rows, found.row_bytes) == (value.rows, value.row_bytes)
    assert found.nbytes == value.nbytes
    if value.data is None:
        assert found.data is None
    else:
        assert found.data is not None
        np.testing.assert_array_equal(found.data, value.data)


@given(programs(), st.dictionaries(st.text(), st.none() | st.integers() | st.text()))
def test_reading_gives_back_what_was_written(program: Program, metadata: dict[str, Any]) -> None:
    plan = plan_program(program)
    data = write_model([(program, plan)], metadata)
    model = read_model(data)
    assert model.version == (1, 0)
    assert model.metadata == metadata
    assert model.file_bytes == len(data)
    (found,) = model.programs
    for tensors, values in ((found.inputs, program.inputs), (found.outputs, program.outputs)):
        for tensor, value in zip(tensors, values, strict=True):
            assert_same_tensor(tensor, value)
    for node, operation in zip(found.nodes, plan.operations, strict=True):
        assert (node.operator, node.name) == (operation.operator, operation.name)
        assert node.params == operation.params
        operands = zip(
            [*node.inputs, *node.outputs], [*operation.inputs, *operation.outputs], strict=True
        )
        for operand, expected in operands:
            assert operand is not None
            assert expected is not None
            assert_same_tensor(operand, expected)
            if expected.data is None:
                placement = plan.placements[expected]
                assert (operand.buffer, operand.offset) == (placement.buffer, placement.offset)
    assert [(s.node, s.row_begin, s.row_end) for s in found.steps] == [
        (s.operation, s.row_begin, s.row_end) for s in plan.steps
    ]
    for buffer, planned in zip(found.buffers, plan.buffers, strict=True):
        assert vars(buffer) == {"region": "arena", **vars(planned)}
    assert (found.arena_bytes, found.peak_step) == (plan.arena_bytes, plan.peak_step)
    assert found.session_bytes == session_bytes(program, plan)


@given(programs(), st.booleans())
def test_the_core_accepts_and_runs_every_plan(program: Program, into: bool) -> None:
    inputs = random_inputs(program)
    expected = evaluate(program, inputs)
    model = edgeinfer.load(write(program))
    given_ = {value.name: data for value, data in zip(program.inputs, inputs, strict=True)}
    results = {value.name: np.zeros(value.shape, value.dtype) for value in program.outputs}
    if into:  # graph inputs and outputs in the caller's memory
        model.run_into(results, given_)
    else:
        found = model.run(given_)
        results = found if isinstance(found, dict) else {program.outputs[0].name: found}
    for value, data in zip(program.outputs, expected, strict=True):
        np.testing.assert_array_equal(results[value.name], data)


def test_the_same_model_gives_the_same_bytes() -> None:
    first = write(small_program(), b=1, a={"d": 2, "c": 3})
    second = write(small_program(), a={"c": 3, "d": 2}, b=1)
    assert first == second


def test_reader_and_core_agree_on_sizes() -> None:
    data = write(small_program())
    plan = edgeinfer.load(data).plan
    program = read_model(data).programs[0]
    assert plan.session_bytes == program.session_bytes
    assert plan.arena_bytes == program.arena_bytes
    assert plan.weights_bytes == program.weights_bytes == 256


def test_session_formula_is_that_of_the_header(repo_root: Path) -> None:
    text = (repo_root / "csrc/model/format.h").read_text()
    constants = {
        name: int(number)
        for name, number in re.findall(r"^#define (EI_\w+) +(\d+)$", text, re.MULTILINE)
    }
    assert constants["EI_MAX_THREADS"] == MAX_THREADS
    assert session_bytes_of(
        nodes=3, operands=5, scratch_bytes=1, arena_bytes=64, state_bytes=65
    ) == (
        constants["EI_SESSION_FIXED_BYTES"]
        + 3 * constants["EI_SESSION_NODE_BYTES"]
        + 5 * constants["EI_SESSION_OPERAND_BYTES"]
        + (64 + 64 + 128)
    )


# --- constants


def test_equal_constants_are_stored_once_and_counted_once() -> None:
    x = Value("x", (8,), "int8")
    y, z, w = (Value(name, (8,), "int8") for name in "yzw")
    first, second = lut8(x, y, 7), lut8(y, z, 7)
    third = lut8(z, w, 8)
    program = read_model(write(Program("main", [x], [w], [first, second, third]))).programs[0]
    tables = [node.inputs[1] for node in program.nodes]
    assert tables[0] is not None and tables[1] is not None and tables[2] is not None
    assert tables[0].offset == tables[1].offset != tables[2].offset
    assert program.weights_bytes == 2 * 256
    for table in tables:
        assert table is not None
        assert table.offset % 64 == 0


def test_programs_share_constants() -> None:
    one, both = write(small_program("a")), write(small_program("a"), small_program("b"))
    assert read_model(both).programs[1].name == "b"
    assert check(both) == ("EI_OK", "")

    def constants(data: bytes) -> int:
        return next(s.bytes for s in read_model(data).sections if s.name == "constants")

    assert constants(one) == constants(both) == 256


def test_constants_of_the_reader_are_read_only_views() -> None:
    table = read_model(write(small_program())).programs[0].nodes[0].inputs[1]
    assert table is not None
    assert table.data is not None
    with pytest.raises(ValueError):
        table.data[0] = 1


# --- what the writer refuses


def one_operation(operation: Operation, *inputs: Value) -> Program:
    return Program("main", list(inputs), list(operation.outputs), [operation])


def big_tensor() -> Program:
    x, y = Value("x", (1 << 16, 1 << 15), "int8"), Value("y", (1 << 16, 1 << 15), "int8")
    return one_operation(lut8(x, y, 0), x)


def high_rank() -> Program:
    x, y = Value("x", (1,) * 7, "int8"), Value("y", (1,) * 7, "int8")
    return one_operation(lut8(x, y, 0), x)


def wrong_params() -> Program:
    program = small_program()
    del program.operations[1].params["shift"]
    return program


def wrong_operator() -> Program:
    program = small_program()
    program.operations[0].operator = "no_such_operator"
    return program


def wrong_operands() -> Program:
    program = small_program()
    del program.operations[0].inputs[1]
    return program


def wrong_constant() -> Program:
    program = small_program()
    table = program.operations[0].inputs[1]
    assert table is not None
    table.data = np.zeros(255, np.int8)
    return program


def wrong_zero_point() -> Program:
    program = small_program()
    program.inputs[0].zero_point = 1 << 40
    return program


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (big_tensor, "2,147,483,648 bytes"),
        (high_rank, "rank 7"),
        (wrong_params, "shift"),
        (wrong_operator, "no_such_operator"),
        (wrong_operands, "1 inputs"),
        (wrong_constant, "255"),
        (wrong_zero_point, "zero point"),
    ],
)
def test_writer_refuses(make: Callable[[], Program], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        write(make())


def test_writer_refuses_two_programs_of_one_name() -> None:
    with pytest.raises(ConversionError, match="one name"):
        write(small_program(), small_program())


def twice(a: str, b: str, *, inputs: bool) -> Program:
    x, y = (Value(name, (4,), "int8") for name in ((a, b) if inputs else "xy"))
    u, v = (Value(name, (4,), "int8") for name in ("uv" if inputs else (a, b)))
    copies = [Operation("copy", [p], [q], {"reserved": 0}) for p, q in ((x, u), (y, v))]
    return Program("main", [x, y], [u, v], copies)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("names", [("a", "a"), ("", ""), ("a\0", "a\ufffd"), ("a\ud800", "a?")])
def test_writer_refuses_two_inputs_or_outputs_of_one_name(
    names: tuple[str, str], inputs: bool
) -> None:
    kind = "inputs" if inputs else "outputs"
    with pytest.raises(ConversionError, match=f"two {kind} named"):
        write(twice(*names, inputs=inputs))
    write(twice("a", "b", inputs=inputs))


def test_writer_refuses_no_program_and_a_program_that_computes_nothing() -> None:
    with pytest.raises(ConversionError, match="1 to 64 programs"):
        write_model([], {})
    x = Value("x", (1,), "int8")
    with pytest.raises(ConversionError, match="computes nothing"):
        write(Program("main", [x], [], []))


def test_writer_refuses_too_many_buffers() -> None:
    program = small_program()
    plan = plan_program(program)
    plan.buffers += [plan.buffers[-1]] * 4096
    with pytest.raises(ConversionError, match="4098 buffers"):
        write_model([(program, plan)], {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_writer_refuses_metadata_that_json_cannot_hold(value: object) -> None:
    with pytest.raises(ConversionError, match="JSON"):
        write(small_program(), value=value)


def test_names_that_are_no_text_are_written_readably() -> None:
    program = small_program()
    program.operations[0].name = "a\0b\ud800c"
    assert read_model(write(program)).programs[0].nodes[0].name == "a\ufffdb?c"


# --- what the reader refuses


def test_every_changed_byte_is_noticed_by_both() -> None:
    data = write(small_program(), note="x" * 40)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x20
        with pytest.raises(ModelFileError):
            read_model(changed)
        assert check(bytes(changed))[0] != "EI_OK", position


def test_every_truncation_is_noticed_by_both() -> None:
    data = write(small_program())
    for size in range(len(data)):
        with pytest.raises(ModelFileError):
            read_model(data[:size])
        assert check(data[:size])[0] != "EI_OK", size
    with pytest.raises(ModelFileError, match="appended"):
        read_model(data + b"\0")


def test_weights_of_four_bits_and_dynamic_products_ask_for_minor_version_2() -> None:
    for make in test_four_bit_contracts.GOOD:
        operation = make()
        inputs = [v for v in operation.inputs if v is not None and v.data is None]
        program = Program("main", inputs, operation.outputs, [operation])
        model = read_model(write_model([(program, plan_program(program))], {}))
        assert model.version == (1, 2)
        weights, value = model.programs[0].nodes[0].inputs[1], operation.inputs[1]
        assert weights is not None and value is not None
        assert bool(value.scheme) == (value.dtype == "uint8")
        assert_same_tensor(weights, value)


def test_another_major_version_is_named() -> None:
    file = EdgeFile(write(small_program()))
    file.header["major"] = 2
    with pytest.raises(ModelVersionError, match=r"2\.0.*1\.x"):
        read_model(file.build())


def test_a_higher_minor_version_and_unknown_optional_sections_are_read() -> None:
    file = EdgeFile(write(small_program()))
    file.header["minor"] = 7
    file.sections[0x8001] = bytearray(b"from the future")
    data = file.build()
    model = read_model(data)
    assert model.version == (1, 7)
    assert model.sections[-1].name == "optional 0x8001"
    assert check(data) == ("EI_OK", "")


def test_metadata_that_is_no_json_object_is_refused() -> None:
    for text in (b"[1]", b"{", b"\xff", b"[" * 100_000):
        file = EdgeFile(write(small_program()))
        file.sections[10] = bytearray(text)
        with pytest.raises(ModelFileError, match="metadata"):
            read_model(file.build())


def test_names_that_are_not_utf8_are_shown() -> None:
    file = EdgeFile(write(small_program()))
    file.sections[9] = bytearray(file.sections[9].replace(b"make y", b"make \xff"))
    assert read_model(file.build()).programs[0].nodes[0].name == "make \ufffd"


_FIELD_EDITS = [
    (1, {"buffer_count": 1}),
    (1, {"first_buffer": 1}),
    (1, {"tensor_count": 1}),
    (1, {"first_node": 0xFFFFFFFF}),
    (1, {"step_count": 0}),
    (1, {"output_count": 0}),
    (1, {"peak_step": 2}),
    (1, {"input_count": 100}),
    (1, {"name": 0xFFFF}),
    (1, {"arena_bytes": 1}),
    (1, {"arena_bytes": 1 << 20}),
    (1, {"state_bytes": 64}),
    (1, {"session_bytes": 64}),
    (1, {"weights_bytes": 255}),
    (2, {"offset": 8}),
    (2, {"offset": 1 << 63}),
    (2, {"bytes": 0}),
    (2, {"bytes": 33}),
    (2, {"first_step": 1}),
    (2, {"last_step": 9}),
    (2, {"region": 1}),
    (2, {"region": 2}),
    (2, {"flags": 0}),
    (2, {"flags": 2}),
    (2, {"flags": 4}),
    (3, {"name": 0xFFFF}),
    (3, {"buffer": 9}),
    (3, {"buffer": 0xFFFFFFFF}),
    (3, {"offset": 1}),
    (3, {"dtype": 0}),
    (3, {"dtype": 8}),
    (3, {"dtype": 3}),
    (3, {"rank": 3}),
    (3, {"rank": 7}),
    (3, {"flags": 1}),
    (3, {"flags": 3}),
    (3, {"rows": 3}),
    (3, {"ring_rows": 3}),
    (3, {"ring_rows": 0}),
    (3, {"row_bytes": 9}),
    (4, {"op": 0}),
    (4, {"op": 999}),
    (4, {"input_count": 3}),
    (4, {"output_count": 0}),
    (4, {"first_operand": 6}),
    (4, {"params_offset": 2}),
    (4, {"params_offset": 0xFFFFFFFC}),
    (4, {"params_bytes": 8}),
    (4, {"name": 0xFFFF}),
    (6, {"node": 1}),
    (6, {"node": 2}),
    (6, {"row_begin": 1}),
    (6, {"row_end": 3}),
    (6, {"row_end": 5}),
    (6, {"row_end": 0}),
    (6, {"reserved": 1}),
]


@pytest.mark.parametrize(("section", "values"), _FIELD_EDITS, ids=str)
def test_reader_and_core_refuse_a_field_that_breaks_a_rule(
    section: int, values: dict[str, int]
) -> None:
    file = EdgeFile(write(small_program()))
    for name, value in values.items():
        file.sections[section][0][name] = value
    data = file.build()
    assert check(data)[0] != "EI_OK"
    with pytest.raises(ModelFileError):
        read_model(data)


_LEFT_TO_THE_CORE = (
    "EI_ERROR_OPERATOR",
    "overlap in buffer",  # rule 26: which operators work in place
    "refer to",  # 28
    "scratch_bytes",  # 29
    "squares",  # 30
    "its bytes overlap those of",  # 35
    "shares its bytes",  # 35
    "written",  # 31, 33, 36: what the arena holds
    "bytes from",  # 37
    "row ",  # 33
    "ahead",  # 36
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file of right checksums in which some fields hold other values."""
    file = EdgeFile(write(small_program("a"), small_program("b", 0.75)))
    for _ in range(draw(st.integers(1, 2))):
        number = draw(st.integers(1, 6))
        records = file.sections[number]
        index = draw(st.integers(0, len(records) - 1))
        value = draw(st.integers(0, 9) | st.sampled_from([64, 255, 0x7FFFFFFF, 0xFFFFFFFF]))
        if records.dtype.names is None:
            records[index] = value
            continue
        name = draw(st.sampled_from(records.dtype.names))
        field = records[name][index : index + 1].view("u1").reshape(-1)
        raw = np.frombuffer(value.to_bytes(8, "little"), np.uint8)
        field[: min(8, len(field))] = raw[: len(field)]
        records[name][index : index + 1] = field.view(records[name].dtype).reshape(
            records[name][index : index + 1].shape
        )
    return file.build()


@given(damaged())
def test_reader_and_core_judge_damaged_records_alike(data: bytes) -> None:
    status, message = check(data)
    try:
        found: ModelFile | None = read_model(data)
    except ModelFileError:
        found = None
    if found is None:
        assert status != "EI_OK"
    elif status != "EI_OK":
        assert any(word in f"{status} {message}" for word in _LEFT_TO_THE_CORE), message


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_bytes_give_a_result_or_a_clear_error(noise: bytes, position: int) -> None:
    data = write(small_program())
    for candidate in (noise, data[:position] + noise, data[:position] + noise + data[position:]):
        try:
            read_model(candidate)
        except ModelFileError as error:
            assert str(error)


def test_reading_needs_numpy_only(repo_root: Path) -> None:
    """`inspect` and `plan` work on a device, where no extra is installed."""
    code = "import edgeinfer.convert.read, edgeinfer.convert.draw, sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in found.stdout.split()}
    assert "numpy" in loaded
    assert loaded.isdisjoint({"onnx", "tflite", "flatbuffers", "google", "matplotlib", "numba"})
