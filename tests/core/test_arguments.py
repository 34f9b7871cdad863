"""Arguments of the public C functions: every one that can be wrong is refused and named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeinfer._ffi import ffi, lib
from tests.core.c_api import NULL, OpenModel, ok, pointer, refused, status_of
from tests.core.edge_file import aligned
from tests.core.programs import chain

ARGUMENT = "EI_ERROR_ARGUMENT"


@pytest.fixture(scope="module")
def opened() -> OpenModel:
    return OpenModel(chain().write())


def test_every_function_that_can_fail_refuses_null(opened: OpenModel) -> None:
    data, memory = opened.data, opened.memory
    size, model = ffi.new("size_t *"), ffi.new("ei_model **")
    info, plan = ffi.new("ei_tensor_info *"), ffi.new("ei_plan_info *")
    session, name = ffi.new("ei_session **"), ffi.new("const char **")
    c = lib()
    calls: list[tuple[int, str]] = [
        (c.ei_tier_default(NULL), "name"),
        (c.ei_model_open(NULL, model), "path"),
        (c.ei_model_open(b"m.edge", NULL), "model"),
        (c.ei_model_size(NULL, 64, size), "data"),
        (c.ei_model_size(pointer(data), data.nbytes, NULL), "memory_bytes"),
        (c.ei_model_init(NULL, 64, pointer(memory), memory.nbytes, model), "data"),
        (c.ei_model_init(pointer(data), data.nbytes, NULL, 4096, model), "memory"),
        (c.ei_model_init(pointer(data), data.nbytes, pointer(memory), 4096, NULL), "model"),
        (c.ei_model_input(NULL, 0, 0, info), "model"),
        (c.ei_model_input(opened.model, 0, 0, NULL), "info"),
        (c.ei_model_output(NULL, 0, 0, info), "model"),
        (c.ei_model_output(opened.model, 0, 0, NULL), "info"),
        (c.ei_model_metadata(NULL, name, size), "model"),
        (c.ei_model_metadata(opened.model, NULL, size), "json"),
        (c.ei_model_metadata(opened.model, name, NULL), "bytes"),
        (c.ei_model_data(NULL, ffi.new("const void **"), size), "model"),
        (c.ei_model_data(opened.model, NULL, size), "data"),
        (c.ei_model_data(opened.model, ffi.new("const void **"), NULL), "bytes"),
        (c.ei_model_plan(NULL, 0, plan), "model"),
        (c.ei_model_plan(opened.model, 0, NULL), "info"),
        (c.ei_session_size(NULL, 0, NULL, size), "model"),
        (c.ei_session_size(opened.model, 0, NULL, NULL), "bytes"),
        (c.ei_session_init(NULL, 0, NULL, pointer(memory), 64, session), "model"),
        (c.ei_session_init(opened.model, 0, NULL, NULL, 64, session), "memory"),
        (c.ei_session_init(opened.model, 0, NULL, pointer(memory), 64, NULL), "session"),
        (c.ei_session_run(NULL, NULL, NULL), "session"),
        (c.ei_session_begin(NULL, NULL), "session"),
        (c.ei_session_feed(NULL, 0, pointer(memory), 1, ffi.new("uint32_t *")), "session"),
        (c.ei_model_input_rows(NULL, 0, 0, ffi.new("ei_input_rows *")), "model"),
    ]
    assert [status_of(code)[0] for code, _ in calls] == [ARGUMENT] * len(calls)


def test_a_message_names_the_argument_that_is_null(opened: OpenModel) -> None:
    refused(lib().ei_model_size(NULL, 64, ffi.new("size_t *")), ARGUMENT, "data is NULL")
    refused(lib().ei_session_run(NULL, NULL, NULL), ARGUMENT, "session is NULL")


def test_functions_that_cannot_fail_answer_null_with_nothing() -> None:
    c = lib()
    c.ei_model_close(NULL)
    assert c.ei_model_program_count(NULL) == 0
    assert c.ei_model_program_name(NULL, 0) == NULL
    assert c.ei_model_input_count(NULL, 0) == 0
    assert c.ei_model_output_count(NULL, 0) == 0
    assert c.ei_session_input(NULL, 0) == NULL
    assert c.ei_session_output(NULL, 0) == NULL
    assert c.ei_session_tier(NULL) == NULL
    assert c.ei_tier_supported(NULL) == 0


@pytest.mark.parametrize("index", [1, 2**31, 2**32 - 1])
def test_indices_past_the_end_are_refused(opened: OpenModel, index: int) -> None:
    c = lib()
    info, plan = ffi.new("ei_tensor_info *"), ffi.new("ei_plan_info *")
    session = opened.session(aligned(bytes(opened.session_bytes())))
    assert c.ei_model_program_name(opened.model, index) == NULL
    assert c.ei_model_input_count(opened.model, index) == 0
    assert c.ei_model_output_count(opened.model, index) == 0
    assert c.ei_session_input(session, index) == NULL
    assert c.ei_session_output(session, index) == NULL
    refused(c.ei_model_input(opened.model, 0, index, info), ARGUMENT, f"index is {index}", "1 in")
    refused(c.ei_model_output(opened.model, 0, index, info), ARGUMENT, f"index is {index}", "1 out")
    words = f"program is {index}, the model has 1"
    refused(c.ei_model_input(opened.model, index, 0, info), ARGUMENT, words)
    refused(c.ei_model_output(opened.model, index, 0, info), ARGUMENT, words)
    refused(c.ei_model_plan(opened.model, index, plan), ARGUMENT, words)
    refused(c.ei_session_size(opened.model, index, NULL, ffi.new("size_t *")), ARGUMENT, words)


def test_what_the_model_says_of_itself(opened: OpenModel) -> None:
    c = lib()
    assert c.ei_model_program_count(opened.model) == 1
    assert ffi.string(c.ei_model_program_name(opened.model, 0)) == b"main"
    info, plan = ffi.new("ei_tensor_info *"), ffi.new("ei_plan_info *")
    ok(c.ei_model_input(opened.model, 0, 0, info))
    assert ffi.string(info.name) == b"x"
    assert (info.dtype, info.rank, info.bytes, info.scale) == (c.EI_INT8, 4, 512, 0.5)
    assert [info.shape[i] for i in range(4)] == [1, 8, 4, 16]
    ok(c.ei_model_plan(opened.model, 0, plan))
    assert (plan.arena_bytes, plan.state_bytes, plan.weights_bytes) == (1536, 0, 256)
    assert plan.session_bytes == opened.session_bytes()
    assert (plan.step_count, plan.peak_step) == (2, 0)
    assert ffi.string(plan.peak_node) == b"h of x"
    assert ffi.string(plan.peak_operator) == b"lut8"
    json, size = ffi.new("const char **"), ffi.new("size_t *")
    ok(c.ei_model_metadata(opened.model, json, size))
    assert bytes(ffi.buffer(json[0], size[0])) == b'{"made":"by hand"}'


def test_the_file_s_bytes_are_lent_not_copied(opened: OpenModel) -> None:
    data, size = ffi.new("const void **"), ffi.new("size_t *")
    ok(lib().ei_model_data(opened.model, data, size))
    assert (data[0], size[0]) == (pointer(opened.data), opened.data.nbytes)


def test_a_model_in_memory_must_be_aligned(opened: OpenModel) -> None:
    size, model = ffi.new("size_t *"), ffi.new("ei_model **")
    moved = aligned(bytes(8) + opened.data.tobytes())[8:]
    refused(
        lib().ei_model_size(pointer(moved), moved.nbytes, size), ARGUMENT, "data is not aligned"
    )
    memory = aligned(bytes(opened.memory.nbytes + 8))[4:]
    code = lib().ei_model_init(
        pointer(opened.data), opened.data.nbytes, pointer(memory), memory.nbytes, model
    )
    refused(code, ARGUMENT, "memory is not aligned to 8 bytes")


def test_memory_for_the_handle_that_is_too_small_is_refused(opened: OpenModel) -> None:
    model = ffi.new("ei_model **")
    size = opened.memory.nbytes - 1
    code = lib().ei_model_init(
        pointer(opened.data), opened.data.nbytes, pointer(opened.memory.copy()), size, model
    )
    refused(code, "EI_ERROR_MEMORY", f"memory_bytes is {size}")
    assert model[0] == NULL


# --- options


def options(**fields: Any) -> Any:
    made = ffi.new("ei_session_options *", fields)
    made.struct_bytes = fields.get("struct_bytes", ffi.sizeof("ei_session_options"))
    return made


def session_size(opened: OpenModel, asked: Any) -> int:
    code: int = lib().ei_session_size(opened.model, 0, asked, ffi.new("size_t *"))
    return code


FIRST_OPTIONS_BYTES = ffi.offsetof("ei_session_options", "tier") + ffi.sizeof("char *")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "must be sizeof"),
        (8, "must be sizeof"),
        (FIRST_OPTIONS_BYTES - 1, "must be sizeof"),
        (ffi.sizeof("ei_session_options") + 1, "it is older than the edgeinfer.h"),
        (2**40, "it is older than the edgeinfer.h"),
    ],
)
def test_options_of_another_size_are_refused(opened: OpenModel, size: int, words: str) -> None:
    code = session_size(opened, options(struct_bytes=size))
    refused(code, ARGUMENT, f"struct_bytes is {size}", words)


def test_options_of_the_first_header_are_read_and_nothing_behind_them(opened: OpenModel) -> None:
    raw = aligned(b"\xff" * 256)
    made = ffi.cast("ei_session_options *", pointer(raw))
    raw[:FIRST_OPTIONS_BYTES] = 0
    made.struct_bytes, made.ram_budget = FIRST_OPTIONS_BYTES, opened.session_bytes()
    ok(session_size(opened, made))
    made.ram_budget -= 1
    refused(session_size(opened, made), "EI_ERROR_BUDGET", "1 too few")


def test_thread_counts_end_at_32(opened: OpenModel) -> None:
    for threads in (0, 1, 2, 32):
        ok(session_size(opened, options(threads=threads)))
    for threads in (33, 2**32 - 1):
        code = session_size(opened, options(threads=threads))
        refused(code, ARGUMENT, f"threads is {threads}, must be at most 32")


def test_a_list_of_cpus_must_be_there(opened: OpenModel) -> None:
    code = session_size(opened, options(cpu_count=1))
    refused(code, ARGUMENT, "cpus is NULL and cpu_count is 1")


def test_work_of_a_part_must_be_a_number(
    opened: OpenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in ("-1", "1e6", "99999999999999999999"):
        monkeypatch.setenv("EDGEINFER_PART_WORK", wrong)
        refused(session_size(opened, NULL), ARGUMENT, f"EDGEINFER_PART_WORK is '{wrong}'")


def test_an_unknown_tier_is_refused(opened: OpenModel) -> None:
    name = ffi.new("char[]", b"abacus\x1b")
    code = session_size(opened, options(tier=name))
    refused(code, "EI_ERROR_TIER", "options: tier is 'abacus?', which this build does not have")
    scalar = ffi.new("char[]", b"scalar")
    ok(session_size(opened, options(tier=scalar)))


def test_the_first_tier_is_scalar_and_always_supported() -> None:
    assert ffi.string(lib().ei_tier_name(0)) == b"scalar"
    assert lib().ei_tier_supported(b"scalar") == 1
    assert lib().ei_tier_supported(b"abacus") == 0
    assert lib().ei_tier_name(-1) == NULL
    assert lib().ei_tier_name(1000) == NULL


@pytest.mark.parametrize(
    ("value", "words"),
    [("scalar", "0 scalar"), ("", "0 "), ("abacus", "9 EDGEINFER_TIER is 'abacus'")],
)
def test_the_environment_chooses_the_tier(value: str, words: str, repo_root: Path) -> None:
    code = (
        "from edgeinfer._ffi import ffi, lib, text; name = ffi.new('const char **'); "
        "status = lib().ei_tier_default(name); "
        "print(status, text(lib().ei_last_error()) if status else text(name[0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo_root,
        env={**os.environ, "EDGEINFER_TIER": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(words)


def test_a_budget_is_held_to_the_byte_and_says_where_memory_peaks(opened: OpenModel) -> None:
    needed = opened.session_bytes()
    ok(session_size(opened, options(ram_budget=needed)))
    refused(
        session_size(opened, options(ram_budget=needed - 1)),
        "EI_ERROR_BUDGET",
        f"needs {needed} bytes and ram_budget is {needed - 1}: 1 too few",
        "step 0, node 'h of x' (lut8)",
    )


# --- messages


def test_outputs_are_untouched_on_failure(opened: OpenModel) -> None:
    size = ffi.new("size_t *", 12345)
    refused(lib().ei_session_size(opened.model, 9, NULL, size), ARGUMENT)
    refused(lib().ei_model_size(pointer(opened.data), 100, size), "EI_ERROR_FORMAT")
    assert size[0] == 12345


def test_a_success_leaves_the_message_alone(opened: OpenModel) -> None:
    refused(session_size(opened, options(threads=77)), ARGUMENT, "threads is 77")
    ok(session_size(opened, NULL))
    assert b"threads is 77" in ffi.string(lib().ei_last_error())


def test_every_status_has_a_sentence() -> None:
    sentences = {ffi.string(lib().ei_status_text(status)) for status in range(12)}
    assert len(sentences) == 12
    unknown = ffi.cast("ei_status", 99)
    assert ffi.string(lib().ei_status_text(unknown)) == b"unknown status"


def test_the_version_is_that_of_the_package(repo_root: Path) -> None:
    text = (repo_root / "pyproject.toml").read_text(encoding="utf-8")
    version = ffi.string(lib().ei_version()).decode()
    assert f'\nversion = "{version}"\n' in text


def test_a_session_starts_with_zeros(opened: OpenModel) -> None:
    session = opened.session(aligned(b"\xff" * opened.session_bytes()))
    for address in (lib().ei_session_input(session, 0), lib().ei_session_output(session, 0)):
        assert bytes(ffi.buffer(ffi.cast("const char *", address), 512)) == bytes(512)
