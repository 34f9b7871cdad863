"""What a session promises: its memory is all it takes, and only what it is given is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeinfer._ffi import ffi, lib
from edgeinfer.budget import session_bytes_of
from edgeinfer.convert.program import Operation, Value
from tests.core.c_api import NULL, OpenModel, ok, own_buffer, pointer, pointers, refused, run
from tests.core.conftest import CountAllocations
from tests.core.edge_file import aligned
from tests.core.guarded import checksums
from tests.core.programs import (
    ROW_BYTES,
    ROWS,
    SHAPE,
    Draft,
    activation,
    apply_table,
    chain,
    concatenation,
    in_place,
    lut,
    ring,
)

DRAFTS: dict[str, Callable[[], Draft]] = {
    "chain": chain,
    "ring": ring,
    "in place": in_place,
    "concatenation": concatenation,
}


def values(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def chain_of(x: np.ndarray) -> np.ndarray:
    """What the chain computes."""
    return np.maximum(x, apply_table(x))


class OpenChain:
    """The chain, open, with a session in memory that was full of rubbish."""

    def __init__(self) -> None:
        self.model = OpenModel(chain().write())
        self.memory = aligned(b"\xa5" * self.model.session_bytes())
        self.session = self.model.session(self.memory)


@pytest.fixture
def opened() -> OpenChain:
    return OpenChain()


# --- memory


@pytest.mark.parametrize("name", DRAFTS)
def test_the_size_is_the_formula(name: str) -> None:
    draft = DRAFTS[name]()
    model = OpenModel(draft.write())
    operations = draft.program.operations
    assert model.session_bytes() == session_bytes_of(
        nodes=len(operations),
        operands=sum(len(o.inputs) + len(o.outputs) for o in operations),
        scratch_bytes=0,
        arena_bytes=max(b.offset + b.bytes for b in draft.buffers),
        state_bytes=0,
    )


@pytest.mark.parametrize("edge", ["begin", "end"])
def test_no_byte_beside_its_memory_is_touched(edge: str, tmp_path: Path) -> None:
    found = checksums(edge, {name: draft().write() for name, draft in DRAFTS.items()}, tmp_path)
    x = np.random.default_rng(1).integers(0, 256, x_bytes()).astype(np.uint8).view(np.int8)
    assert found["chain"] == zlib.crc32(chain_of(x).tobytes())


@pytest.mark.parametrize(("edge", "offset"), [("begin", -1), ("end", 100)])
def test_the_guards_are_real(edge: str, offset: int, repo_root: Path) -> None:
    code = (
        "import ctypes; from tests.core.guarded import take; "
        f"block = take(100, {edge == 'end'}); ctypes.string_at(block.ctypes.data + {offset}, 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo_root, check=False)
    assert done.returncode == -signal.SIGSEGV


def test_ten_thousand_runs_allocate_nothing(count_allocations: CountAllocations) -> None:
    assert count_allocations({"ring": (10_000, ring().write())}) == {"ring": (1, 0, 0, 1)}


@pytest.mark.parametrize("short", [1, 64])
def test_memory_that_is_too_small_is_refused(short: int) -> None:
    model = OpenModel(chain().write())
    size = model.session_bytes()
    made = ffi.new("ei_session **")
    memory = aligned(bytes(size))
    code = lib().ei_session_init(model.model, 0, NULL, pointer(memory), size - short, made)
    refused(code, "EI_ERROR_MEMORY", f"bytes is {size - short}", f"needs {size}")
    assert made[0] == NULL


def test_memory_that_is_not_aligned_is_refused() -> None:
    model = OpenModel(chain().write())
    size = model.session_bytes()
    made = ffi.new("ei_session **")
    memory = aligned(bytes(size + 16))
    code = lib().ei_session_init(model.model, 0, NULL, pointer(memory[16:]), size, made)
    refused(code, "EI_ERROR_ARGUMENT", "memory is not aligned to 64 bytes")


def test_sessions_of_one_model_are_independent() -> None:
    model = OpenModel(chain().write())
    memories = [aligned(b"\xff" * model.session_bytes()) for _ in range(2)]
    sessions = [model.session(memory) for memory in memories]
    inputs = [values(1), values(2)]
    for session, x in zip(sessions, inputs, strict=True):
        own_buffer(lib().ei_session_input(session, 0), SHAPE)[:] = x
    for session in sessions:
        ok(run(session))
    for session, x in zip(sessions, inputs, strict=True):
        y = own_buffer(lib().ei_session_output(session, 0), SHAPE)
        np.testing.assert_array_equal(y, chain_of(x))


# --- the caller's inputs and outputs


def test_each_run_decides_anew_whose_memory_it_uses(opened: OpenChain) -> None:
    own_x = own_buffer(lib().ei_session_input(opened.session, 0), SHAPE)
    own_y = own_buffer(lib().ei_session_output(opened.session, 0), SHAPE)
    for seed, (give_x, give_y) in enumerate([(1, 1), (0, 0), (1, 0), (0, 1), (1, 1)] * 2):
        x, y = values(seed), np.zeros(SHAPE, np.int8)
        own_x[:] = 0 if give_x else x
        own_y[:] = 0
        inputs = pointers(x) if give_x else NULL
        ok(run(opened.session, inputs, pointers(y if give_y else None)))
        np.testing.assert_array_equal(y if give_y else own_y, chain_of(x))
        assert not (own_y if give_y else y).any()


def test_the_callers_input_is_not_written(opened: OpenChain) -> None:
    x = values(3)
    kept = x.copy()
    ok(run(opened.session, pointers(x)))
    np.testing.assert_array_equal(x, kept)


def test_the_sessions_own_buffers_may_be_given_by_address(opened: OpenChain) -> None:
    x = own_buffer(lib().ei_session_input(opened.session, 0), SHAPE)
    y = own_buffer(lib().ei_session_output(opened.session, 0), SHAPE)
    x[:] = values(4)
    expected = chain_of(x)
    ok(run(opened.session, pointers(x), pointers(y)))
    np.testing.assert_array_equal(y, expected)


def test_an_output_over_an_input_is_refused(opened: OpenChain) -> None:
    block = aligned(bytes(2 * x_bytes()))
    for shift in (0, 1, x_bytes() - 1):
        code = run(opened.session, pointers(block), pointers(block[shift:]))
        refused(code, "EI_ERROR_ARGUMENT", "outputs 0 'y': overlaps an input")
    ok(run(opened.session, pointers(block), pointers(block[x_bytes() :])))


def x_bytes() -> int:
    return ROWS * ROW_BYTES


def test_memory_of_the_session_is_refused(opened: OpenChain) -> None:
    inside = opened.memory[64:]
    for inputs, outputs, words in [
        (pointers(inside), NULL, "inputs 0 'x': overlaps the session's memory"),
        (NULL, pointers(inside), "outputs 0 'y': overlaps the session's memory"),
        (NULL, pointers(opened.memory[-1:]), "outputs 0 'y': overlaps the session's memory"),
    ]:
        refused(run(opened.session, inputs, outputs), "EI_ERROR_ARGUMENT", words)


def test_a_refused_run_changes_nothing(opened: OpenChain) -> None:
    x = values(5)
    own_buffer(lib().ei_session_input(opened.session, 0), SHAPE)[:] = x
    other = values(6)
    refused(run(opened.session, pointers(other), pointers(other)), "EI_ERROR_ARGUMENT")
    ok(run(opened.session))
    y = own_buffer(lib().ei_session_output(opened.session, 0), SHAPE)
    np.testing.assert_array_equal(y, chain_of(x))


def dequantized() -> OpenModel:
    """x int16 [8] -> two float32 outputs."""
    x = Value("x", (8,), "int16", scale=0.5)
    y, z = Value("y", (8,), "float32"), Value("z", (8,), "float32")
    operations = [
        Operation("dequantize", [x], [y], {"scale": 0.5, "zero_point": 0}, "half"),
        Operation("dequantize", [x], [z], {"scale": 2.0, "zero_point": 1}, "double"),
    ]
    return OpenModel(Draft([x], [y, z], operations).write())


def test_addresses_are_aligned_to_elements() -> None:
    model = dequantized()
    session = model.session(aligned(bytes(model.session_bytes())))
    block = aligned(bytes(256))
    refused(
        run(session, pointers(block[1:])), "EI_ERROR_ARGUMENT", "inputs 0 'x': the address is not"
    )
    code = run(session, NULL, pointers(None, block[2:]))
    refused(code, "EI_ERROR_ARGUMENT", "outputs 1 'z': the address is not aligned")
    ok(run(session, pointers(block[2:]), pointers(block[64 + 4 :], block[128 + 4 :])))


def test_outputs_over_each_other_are_refused() -> None:
    model = dequantized()
    session = model.session(aligned(bytes(model.session_bytes())))
    block = aligned(bytes(64))
    code = run(session, NULL, pointers(block, block[28:]))
    refused(code, "EI_ERROR_ARGUMENT", "outputs 1 'z': overlaps an output")
    ok(run(session, NULL, pointers(block, block[32:])))


def test_two_inputs_may_be_the_same_memory() -> None:
    model = OpenModel(concatenation().write())
    session = model.session(aligned(bytes(model.session_bytes())))
    x = values(7, (1, ROWS // 2, 4, 16))
    ok(run(session, pointers(x, x)))
    y = own_buffer(lib().ei_session_output(session, 0), SHAPE)
    expected = np.concatenate([apply_table(x), apply_table(x)], axis=1)[:, ::-1]
    np.testing.assert_array_equal(y, expected)


def test_an_input_that_nothing_reads_is_allowed() -> None:
    x, unused, y = activation("x"), activation("unused"), activation("y")
    model = OpenModel(Draft([unused, x], [y], [lut(x, y)]).write())
    session = model.session(aligned(bytes(model.session_bytes())))
    given = values(8)
    ok(run(session, pointers(values(9), given)))
    result = own_buffer(lib().ei_session_output(session, 0), SHAPE)
    np.testing.assert_array_equal(result, apply_table(given))


# --- data


def test_an_index_out_of_range_fails_the_run_and_names_the_step() -> None:
    x, y = Value("x", (4,), "int32"), Value("y", (4, 2), "int8")
    table = Value("table", (3, 2), "int8", data=np.arange(6, dtype=np.int8).reshape(3, 2))
    operation = Operation("gather", [table, x], [y], {"axis": 0}, "look up")
    model = OpenModel(Draft([x], [y], [operation]).write())
    session = model.session(aligned(bytes(model.session_bytes())))
    for index in (3, -4, 2**31 - 1, -(2**31)):
        bad = np.array([0, 1, index, 0], np.int32)
        code = run(session, pointers(bad))
        refused(code, "EI_ERROR_DATA", "step 0, node 'look up' (gather): ", str(index))
    good = np.array([0, -1, 2, -3], np.int32)
    ok(run(session, pointers(good)))
    result = own_buffer(lib().ei_session_output(session, 0), (4, 2))
    assert table.data is not None
    np.testing.assert_array_equal(result, table.data[good])


def test_the_tier_of_a_session_is_one_of_the_build(opened: OpenChain) -> None:
    name = ffi.string(lib().ei_session_tier(opened.session)).decode()
    assert lib().ei_tier_supported(name.encode()) == 1
    assert name == os.environ.get("EDGEINFER_TIER", name)
