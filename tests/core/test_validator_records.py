"""Records: rules 10 to 29 of docs/format.md, broken one by one in a valid file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeinfer.convert.write import write_model
from tests.core.edge_file import ABSENT, EdgeFile, check
from tests.core.programs import Draft, activation, chain, lut

Change = Callable[[EdgeFile], None]


@pytest.fixture(scope="module")
def valid() -> bytes:
    """x -> h = lut(x) -> y = max(x, h); tensors x, h, y, table in buffers 0, 2, 1."""
    data = chain().write()
    assert check(data) == ("EI_OK", "")
    return data


def refused(data: bytes, change: Change, *words: str, status: str = "EI_ERROR_FORMAT") -> None:
    """The change must give this status, and a message with all these words."""
    file = EdgeFile(data)
    change(file)
    found, message = check(file.build())
    assert found == status, message
    for word in words:
        assert word in message, message


def field(section: str, index: int, name: str, value: object) -> Change:
    """Set one field of one record."""

    def change(file: EdgeFile) -> None:
        getattr(file, section)[index][name] = value

    return change


X, H, Y, TABLE = range(4)


def test_the_file_is_what_these_tests_take_it_for(valid: bytes) -> None:
    file = EdgeFile(valid)
    assert [file.tensor_index(name) for name in ("x", "h", "y", "table")] == [X, H, Y, TABLE]
    assert file.tensors["buffer"].tolist() == [0, 2, 1, ABSENT]
    assert file.operands.tolist() == [X, Y, X, TABLE, H, X, H, Y]


# --- strings


def test_strings_must_start_with_the_empty_one(valid: bytes) -> None:
    refused(valid, lambda f: f.sections[9].__setitem__(0, 65), "strings: must start with a zero")


def test_strings_must_end(valid: bytes) -> None:
    refused(valid, lambda f: f.sections[9].__setitem__(-1, 65), "strings: the last one")


def test_there_must_be_strings(valid: bytes) -> None:
    refused(valid, lambda f: f.sections[9].clear(), "strings: must start with a zero")


@pytest.mark.parametrize(
    ("section", "words"),
    [("tensors", "tensor 1"), ("nodes", "node 1"), ("programs", "program 0")],
)
@pytest.mark.parametrize("offset", ["end", 0xFFFFFFFF])
def test_names_lie_inside_the_strings(
    valid: bytes, section: str, words: str, offset: str | int
) -> None:
    value = len(EdgeFile(valid).sections[9]) if offset == "end" else offset
    index = 0 if section == "programs" else 1
    refused(valid, field(section, index, "name", value), words, f"name is {value}")


def test_names_that_are_not_text_are_made_printable(valid: bytes) -> None:
    raw = b"\x1b[2J\xff\xc3\xa9\xed\xa0\x80\xc0\x80\x7f" + b"n" * 300 + b"\0"

    def change(file: EdgeFile) -> None:
        file.tensors[H]["name"] = len(file.sections[9])
        file.sections[9] += raw
        file.tensors[H]["dtype"] = 99

    refused(valid, change, "'?[2J?é?????" + "?" + "n", "n...'", "dtype is 99")


# --- tensors

TENSOR_CHANGES = {
    "no dtype": ("dtype", 0, "dtype is 0"),
    "unknown dtype": ("dtype", 9, "dtype is 9"),
    "unknown scheme": ("flags", 3, "flags is 0x3, which is no scheme of weights"),
    "scheme of an activation": ("flags", 1, "flags is 0x1, must be 0 for what is no constant"),
    "rank": ("rank", 7, "rank is 7"),
    "dim of zero": ("dims", [1, 0, 4, 16, 1, 1], "dims[1] is 0"),
    "negative dim": ("dims", [1, -8, 4, 16, 1, 1], "dims[1] is -8"),
    "dim beyond the rank": ("dims", [1, 8, 4, 16, 2, 1], "dims[4] is 2"),
    "large": ("dims", [1, 8, 65536, 65536, 1, 1], "takes more than 2147483647 bytes"),
    "product beyond 2^64": ("dims", [2**31 - 1] * 4 + [1, 1], "takes more than 2147483647"),
    "rows": ("rows", 9, "rows is 9, its shape has 8"),
    "rows near 2^32": ("rows", 2**32 - 1, "rows is 4294967295"),
    "row_bytes": ("row_bytes", 65, "row_bytes is 65, its shape has 64"),
    "no ring": ("ring_rows", 0, "ring_rows is 0"),
    "ring longer than the tensor": ("ring_rows", 9, "ring_rows is 9, must be from 1 to rows, 8"),
    "negative scale": ("scale", -0.5, "scale is -0.5"),
    "infinite scale": ("scale", np.inf, "scale is inf"),
    "scale that is no number": ("scale", np.nan, "scale is"),
    "unknown buffer": ("buffer", 3, "buffer is 3, the program has 3"),
    "beyond the buffer": ("offset", 64, "512 bytes at offset 64 go past the end of buffer 2"),
    "offset near 2^64": ("offset", 2**64 - 64, "go past the end of buffer 2"),
}


@pytest.mark.parametrize("change", TENSOR_CHANGES)
def test_tensors_are_checked(valid: bytes, change: str) -> None:
    name, value, words = TENSOR_CHANGES[change]
    refused(valid, field("tensors", H, name, value), "tensor 1 'h'", words)


def test_every_other_zero_point_and_scale_is_allowed(valid: bytes) -> None:
    file = EdgeFile(valid)
    file.tensors[H]["scale"], file.tensors[H]["zero_point"] = 0.0, -(2**31)
    assert check(file.build())[0] == "EI_OK"


def test_an_activation_is_aligned_to_its_elements(valid: bytes) -> None:
    def change(file: EdgeFile) -> None:
        file.tensors[H]["dtype"] = 3
        file.tensors[H]["dims"] = [1, 1, 4, 16, 1, 1]
        file.tensors[H]["rows"] = file.tensors[H]["ring_rows"] = 1
        file.tensors[H]["row_bytes"] = 128
        file.tensors[H]["offset"] = 1

    refused(valid, change, "tensor 1 'h'", "must be a multiple of its element, 2 bytes")


CONSTANT_CHANGES = {
    "unaligned": ("offset", 16, "must be a multiple of 64"),
    "beyond the section": ("offset", 64, "go past the end of the constants section, 256"),
    "offset near 2^64": ("offset", 2**64 - 64, "go past the end of the constants section"),
}


@pytest.mark.parametrize("change", CONSTANT_CHANGES)
def test_constants_are_checked(valid: bytes, change: str) -> None:
    name, value, words = CONSTANT_CHANGES[change]
    refused(valid, field("tensors", TABLE, name, value), "tensor 3 'table'", words)


def test_a_constant_is_no_ring(valid: bytes) -> None:
    def change(file: EdgeFile) -> None:
        table = file.tensors[TABLE]
        table["rank"], table["dims"] = 2, [4, 64, 1, 1, 1, 1]
        table["rows"], table["row_bytes"], table["ring_rows"] = 4, 64, 2

    refused(valid, change, "that of a constant must be rows, 4")


# --- programs

PROGRAM_CHANGES = {
    "no node": ("node_count", 0, "must be at least 1"),
    "no step": ("step_count", 0, "must be at least 1"),
    "no output": ("output_count", 0, "must be at least 1"),
    "buffers that are not there": ("buffer_count", 4, "buffer_count is 4"),
    "tensors that are not there": ("tensor_count", 5, "tensor_count is 5"),
    "nodes that are not there": ("node_count", 3, "node_count is 3"),
    "steps that are not there": ("step_count", 2**32 - 1, "step_count is 4294967295"),
    "inputs that are not there": ("input_count", 9, "input_count is 9"),
    "outputs far away": ("first_output", 2**32 - 1, "from operand 4294967295"),
    "buffers that start later": ("first_buffer", 1, "first_buffer is 1, must be 0"),
    "nodes that start later": ("first_node", 1, "first_node is 1, must be 0"),
    "steps that start later": ("first_step", 1, "first_step is 1, must be 0"),
    "peak beyond the steps": ("peak_step", 2, "peak_step is 2, the program has 2 steps"),
    "reserved": ("reserved", [0, 1], "reserved must be 0"),
    "reserved2": ("reserved2", [0] * 23 + [1], "reserved2 must be 0"),
    "fewer nodes than the file": ("node_count", 1, "together they have"),
    "fewer buffers than the file": ("buffer_count", 2, "together they have"),
    "fewer steps than the file": ("step_count", 1, "together they have"),
    "an activation of nobody": ("tensor_count", 2, "tensor 2 'y': is no constant"),
    "arena that is too small": ("arena_bytes", 1535, "inside the arena"),
    "arena that is too large": ("arena_bytes", 1537, "arena_bytes"),
    "state without buffers": ("state_bytes", 64, "state_bytes"),
    "session that is too small": ("session_bytes", 64, "session_bytes is 64, its parts make"),
    "session near 2^64": ("session_bytes", 2**64 - 64, "session_bytes is 18446744073709551552"),
    "scratch without a session": ("scratch_bytes", 64, "session_bytes is"),
    "scratch near 2^64": ("scratch_bytes", 2**64 - 1, "session_bytes is"),
    "weights": ("weights_bytes", 255, "weights_bytes is 255, its nodes read 256"),
}


@pytest.mark.parametrize("change", PROGRAM_CHANGES)
def test_programs_are_checked(valid: bytes, change: str) -> None:
    name, value, words = PROGRAM_CHANGES[change]
    refused(valid, field("programs", 0, name, value), words)


def test_there_must_be_a_program(valid: bytes) -> None:
    refused(valid, lambda f: f.sections.update({1: f.programs[:0]}), "programs: there are 0")


def test_there_are_at_most_64_programs(valid: bytes) -> None:
    refused(
        valid, lambda f: f.sections.update({1: np.repeat(f.programs, 65)}), "programs: there are 65"
    )


def two_programs() -> bytes:
    first, second = chain().planned(), chain().planned()
    second[0].name = "second"
    return write_model([first, second], {})


def test_programs_share_constants_and_nothing_else() -> None:
    data = two_programs()
    assert check(data) == ("EI_OK", "")
    file = EdgeFile(data)
    assert len(file.tensors) == 7 and file.programs["weights_bytes"].tolist() == [256, 256]
    second = int(file.programs[1]["first_tensor"])
    refused(data, lambda f: f.operands.__setitem__(2, second), "operand 0", "of another program")
    refused(
        data,
        field("programs", 1, "first_tensor", 2),
        "program 1 'second'",
        "first_tensor is 2, the program before has tensors up to 3",
    )


def test_a_program_has_at_most_4096_buffers(valid: bytes) -> None:
    def change(file: EdgeFile) -> None:
        file.sections[2] = np.resize(file.buffers, 4097)
        file.programs[0]["buffer_count"] = 4097

    refused(valid, change, "buffer_count is 4097, must be at most 4096")


# --- buffers

BUFFER_CHANGES = {
    "region": ("region", 2, "region is 2"),
    "flags": ("flags", 3, "flags is 0x3"),
    "flag without an input": ("flags", 1, "no graph input or output fills it"),
    "reserved": ("reserved", [0, 0, 0, 0, 0, 1], "reserved must be 0"),
    "no bytes": ("bytes", 0, "must be at least 1"),
    "beyond the arena": ("offset", 1040, "inside the arena, 1536 bytes"),
    "offset near 2^64": ("offset", 2**64 - 16, "inside the arena"),
    "size near 2^64": ("bytes", 2**64 - 1, "inside the arena"),
    "unaligned": ("offset", 1016, "must be a multiple of 16"),
    "born after it dies": ("first_step", 2, "lives from step 2 to 1"),
    "dies after the last step": ("last_step", 2, "must lie within 0 to 1"),
    "over another one": ("offset", 528, "buffers 1 and 2: overlap in the arena"),
}


@pytest.mark.parametrize("change", BUFFER_CHANGES)
def test_buffers_are_checked(valid: bytes, change: str) -> None:
    name, value, words = BUFFER_CHANGES[change]
    refused(valid, field("buffers", 2, name, value), words)


def test_buffers_that_are_never_alive_together_may_overlap() -> None:
    x, a, b, y = (activation(name) for name in "xaby")
    operations = [lut(x, a), lut(a, b), lut(b, y)]
    draft = Draft([x], [y], operations).place(a).place(b)
    program, plan = draft.planned()
    _, of_y, of_a, _ = plan.buffers
    of_a.last_step = 1
    of_y.first_step = 2
    of_y.offset = of_a.offset
    plan.arena_bytes = max(b.offset + b.bytes for b in plan.buffers)
    assert check(write_model([(program, plan)], {})) == ("EI_OK", "")
    of_a.last_step = 2
    status, message = check(write_model([(program, plan)], {}))
    assert status == "EI_ERROR_FORMAT" and "buffers 1 and 2: overlap" in message


@pytest.mark.parametrize(
    ("buffer", "name", "value", "words"),
    [
        (0, "first_step", 1, "first_step is 1, must be 0 for a graph input"),
        (1, "last_step", 0, "last_step is 0, must be the last, 1, for a graph output"),
    ],
)
def test_graph_inputs_and_outputs_live_long_enough(
    valid: bytes, buffer: int, name: str, value: int, words: str
) -> None:
    refused(valid, field("buffers", buffer, name, value), f"buffer {buffer}", words)


def with_state(first_step: int = 0, last_step: int = 1, flags: int = 0) -> Change:
    """h moves to a buffer in the state region."""

    def change(file: EdgeFile) -> None:
        buffer, program = file.buffers[2], file.programs[0]
        buffer["region"], buffer["offset"], buffer["flags"] = 1, 0, flags
        buffer["first_step"], buffer["last_step"] = first_step, last_step
        program["arena_bytes"], program["state_bytes"] = 1024, 512

    return change


def test_a_buffer_may_lie_in_the_state(valid: bytes) -> None:
    file = EdgeFile(valid)
    with_state()(file)
    assert check(file.build()) == ("EI_OK", "")


def test_state_lives_from_the_first_step_to_the_last(valid: bytes) -> None:
    refused(valid, with_state(first_step=1), "buffer 2", "first_step is 1, must be 0 for state")
    refused(valid, with_state(last_step=0), "buffer 2", "must be the last, 1, for state")


def test_state_is_no_graph_input(valid: bytes) -> None:
    refused(valid, with_state(flags=1), "buffer 2", "flags is 0x1")


# --- graph inputs and outputs

IO_CHANGES = {
    "no such tensor": (0, 4, "graph input 0: is tensor 4, not an activation"),
    "absent": (0, ABSENT, "graph input 0: is tensor 4294967295"),
    "a constant": (0, TABLE, "graph input 0: is tensor 3, not an activation"),
    "not in a buffer for it": (0, H, "graph input 0: lies in buffer 2 with flags 0x0"),
    "an output as input": (0, Y, "graph input 0: lies in buffer 1 with flags 0x2"),
    "an input as output": (1, X, "graph output 0: lies in buffer 0 with flags 0x1"),
}


@pytest.mark.parametrize("change", IO_CHANGES)
def test_graph_inputs_and_outputs_are_checked(valid: bytes, change: str) -> None:
    operand, tensor, words = IO_CHANGES[change]
    refused(valid, lambda f: f.operands.__setitem__(operand, tensor), words)


def test_graph_inputs_and_outputs_fill_their_buffers(valid: bytes) -> None:
    def shrink(file: EdgeFile) -> None:
        x = file.tensors[X]
        x["dims"][1] = x["rows"] = x["ring_rows"] = 7

    refused(valid, shrink, "graph input 0: must be a whole tensor that fills buffer 0")
    refused(valid, field("tensors", Y, "ring_rows", 4), "graph output 0: must be a whole tensor")


def test_graph_outputs_have_buffers_of_their_own(valid: bytes) -> None:
    def change(file: EdgeFile) -> None:
        file.sections[5] = np.append(file.operands, np.array([Y, Y], np.uint32))
        file.programs[0]["first_output"], file.programs[0]["output_count"] = 8, 2

    refused(valid, change, "graph output 1: shares buffer 1 with another one")


def test_what_lies_in_the_callers_memory_has_no_larger_elements(valid: bytes) -> None:
    def change(file: EdgeFile) -> None:
        h = file.tensors[H]
        h["buffer"], h["dtype"], h["dims"][1] = 1, 3, 4
        h["rows"] = h["ring_rows"] = 4
        h["row_bytes"] = 128

    refused(valid, change, "tensor 1 'h'", "larger elements than the graph input or output")


# --- nodes

NODE_CHANGES = {
    "unknown operator": ("op", 999, "op is 999", "EI_ERROR_OPERATOR"),
    "operator zero": ("op", 0, "op is 0", "EI_ERROR_OPERATOR"),
    "too many inputs": ("input_count", 3, "input_count is 3, must be from 2 to 2", "OPERATOR"),
    "no inputs": ("input_count", 0, "input_count is 0", "EI_ERROR_OPERATOR"),
    "no output": ("output_count", 0, "output_count is 0, must be 1", "EI_ERROR_OPERATOR"),
    "two outputs": ("output_count", 2, "output_count is 2, must be 1", "EI_ERROR_OPERATOR"),
    "params_bytes": ("params_bytes", 8, "params_bytes is 8, must be 4", "EI_ERROR_OPERATOR"),
    "unaligned parameters": ("params_offset", 2, "params_offset is 2", "EI_ERROR_FORMAT"),
    "parameters beyond": ("params_offset", 8, "params section, 8", "EI_ERROR_FORMAT"),
    "parameters far beyond": ("params_offset", 2**32 - 4, "params section", "EI_ERROR_FORMAT"),
    "operands beyond": ("first_operand", 6, "go past the end of the operands", "EI_ERROR_FORMAT"),
    "operands far beyond": ("first_operand", 2**32 - 1, "operands section", "EI_ERROR_FORMAT"),
    "reserved": ("reserved", 1, "reserved and reserved2 must be 0", "EI_ERROR_FORMAT"),
    "reserved2": ("reserved2", [0, 1], "reserved and reserved2 must be 0", "EI_ERROR_FORMAT"),
}


@pytest.mark.parametrize("change", NODE_CHANGES)
def test_nodes_are_checked(valid: bytes, change: str) -> None:
    name, value, words, status = NODE_CHANGES[change]
    full = status if status.startswith("EI_") else f"EI_ERROR_{status}"
    refused(valid, field("nodes", 1, name, value), "node 1 'y of x, h'", words, status=full)


OPERAND_CHANGES = {
    "no such tensor": (5, 4, "operand 0: is tensor 4, the file has 4"),
    "an absent output": (7, ABSENT, "operand 2: is absent, only inputs may be"),
    "a constant output": (7, TABLE, "operand 2: is tensor 3, a constant"),
    "an output over a graph input": (7, X, "operand 2: is tensor 0 in the buffer of a graph input"),
}


@pytest.mark.parametrize("change", OPERAND_CHANGES)
def test_operands_are_checked(valid: bytes, change: str) -> None:
    operand, tensor, words = OPERAND_CHANGES[change]
    refused(valid, lambda f: f.operands.__setitem__(operand, tensor), "node 1", words)


def test_operators_check_their_operands(valid: bytes) -> None:
    refused(
        valid,
        lambda f: f.operands.__setitem__(5, ABSENT),
        "node 1 'y of x, h' (maximum): ",
        "absent",
        status="EI_ERROR_OPERATOR",
    )


def test_constants_are_counted_once_per_program_whatever_their_records() -> None:
    x, y, z = activation("x"), activation("y"), activation("z")
    first, second = lut(x, y), lut(x, z)
    assert second.inputs[1] is not None
    second.inputs[1].name = "the same bytes under another name"
    file = EdgeFile(Draft([x], [y, z], [first, second]).write())
    assert len(file.tensors) == 5 and len(file.sections[8]) == 256
    assert file.programs[0]["weights_bytes"] == 256
    assert check(file.build()) == ("EI_OK", "")


def test_what_nodes_refer_to_is_limited() -> None:
    """Else a small file could keep the validator busy for hours."""
    x, y = activation("x"), activation("y")
    operation = lut(x, y)
    table = operation.inputs[1]
    assert table is not None and table.data is not None
    table.data, table.shape = np.resize(table.data, 2**20), (2**20,)
    file = EdgeFile(Draft([x], [y], [operation]).write())
    assert check(file.build()) == ("EI_OK", "")
    file.sections[4] = np.repeat(file.nodes, 2000)
    file.programs[0]["node_count"] = 2000
    status, message = check(file.build())
    assert status == "EI_ERROR_FORMAT"
    assert "node 320 " in message and "far more than the file has of them" in message
