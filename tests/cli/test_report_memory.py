"""`edgeinfer run --report-memory`: what is measured, held against what was planned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import ffi
from edgeinfer.budget import SESSION_THREAD_BYTES
from edgeinfer.cli import main, session_memory
from edgeinfer.cli.memory_report import as_text
from edgeinfer.cli.session_memory import Phase, SessionMemory, measure_session
from edgeinfer.session import SessionOptions
from tests.cli.test_cli import random_draws
from tests.core.fed_programs import pooled, two_inputs
from tests.core.programs import Draft
from tests.device.programs import one_in_one_out, two_in_two_out
from tests.requirements import require_module

STACK_OF_A_RUN = 80 * 1024  # docs/c_api.md
STACK_OF_A_THREAD = 72 * 1024  # docs/internals/threads.md


@pytest.fixture
def double(tmp_path: Path) -> Path:
    path = tmp_path / "double.edge"
    path.write_bytes(one_in_one_out())
    return path


def report(path: Path, *arguments: str) -> dict[str, Any]:
    """The command's own report, from a process that has done nothing else."""
    command = [sys.executable, "-m", "edgeinfer", "run", str(path), "--report-memory", "--json"]
    # Not measured for coverage either, which takes memory for every line that runs.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run([*command, *arguments], env=plain, capture_output=True, check=True)
    return json.loads(done.stdout)


def assert_as_planned(found: dict[str, Any]) -> None:
    planned, measured = found["planned"], found["measured"]
    assert measured["session_pages"] <= planned["planned_pages"]
    size = planned["session_bytes"] + planned["thread_bytes"]
    assert planned["planned_pages"] == -(-size // measured["page_bytes"])
    assert measured["bytes_written_outside"] == 0
    assert 0 < measured["arena_bytes_written"] <= planned["arena_bytes"]
    assert measured["stack_bytes"] is None or 0 < measured["stack_bytes"] <= STACK_OF_A_RUN
    for depth in measured["thread_stack_bytes"]:
        assert 0 < depth <= STACK_OF_A_THREAD


def test_a_session_touches_the_planned_pages_and_no_others(double: Path) -> None:
    found = report(double)
    assert_as_planned(found)
    with edgeinfer.load(double) as model:
        plan = model.plan
    planned, measured = found["planned"], found["measured"]
    assert planned["arena_bytes"] == plan.arena_bytes
    assert planned["session_bytes"] == plan.session_bytes
    parts = ("bookkeeping_bytes", "arena_bytes", "state_bytes", "scratch_bytes")
    assert 0 <= planned["session_bytes"] - sum(planned[part] for part in parts) < 3 * 64
    assert measured["arena_bytes_written"] == 12 + 12  # input and output, between them a gap
    names = [phase["name"] for phase in measured["phases"]]
    assert names[:3] == ["open the model", "make the session", "first run"]
    assert names[3].endswith("more runs")


@pytest.mark.parametrize("name", ["ad01", "kws", "vww", "resnet8", "mobilenet_v2"])
def test_real_models_take_what_was_planned(name: str, models_dir: Path) -> None:
    require_module("tflite")
    found = report(models_dir / f"{name}_int8.tflite")
    assert_as_planned(found)
    planned, measured = found["planned"], found["measured"]
    opened, made, first, later = measured["phases"]
    # Every page of the session is touched when it is made: init writes zeros. Python takes few.
    held = measured["session_pages"] * measured["page_bytes"]
    assert measured["session_pages"] == planned["planned_pages"]
    assert held <= made["anonymous_bytes"] <= held + 64 * 1024
    assert made["malloc_bytes"] in (None, 0)
    assert opened["malloc_bytes"] is None or 0 < opened["malloc_bytes"] <= 64 * 1024
    # A run takes the caller's stack and nothing else that is the process's own.
    assert first["anonymous_bytes"] <= STACK_OF_A_RUN + 64 * 1024
    assert first["malloc_bytes"] in (None, 0) and later["malloc_bytes"] in (None, 0)
    assert later["anonymous_bytes"] <= 32 * 1024
    # What the planner counted is used, but for gaps of less than 64 bytes between buffers.
    assert measured["arena_bytes_written"] > 0.98 * planned["arena_bytes"]


def test_stacks_of_the_sessions_own_threads_are_measured(
    digits_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_module("onnx")
    monkeypatch.setenv("EDGEINFER_PART_WORK", "1")  # so that even a small model shares its runs
    found = report(digits_dir / "digits_int8.onnx", "--threads", "3")
    assert_as_planned(found)
    assert found["threads"] == 3
    assert found["planned"]["thread_bytes"] == 2 * SESSION_THREAD_BYTES
    assert len(found["measured"]["thread_stack_bytes"]) == 2


def test_given_inputs_are_run_and_outputs_are_saved(
    double: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with edgeinfer.load(double) as model:
        (info,) = model.inputs
    x = np.arange(np.prod(info.shape), dtype=info.dtype).reshape(info.shape)
    np.save(tmp_path / "x.npy", x)
    saved = tmp_path / "y.npy"
    arguments = ["run", str(double), "--report-memory", "-i", str(tmp_path / "x.npy")]
    assert main([*arguments, "-o", str(saved)]) == 0
    printed = capsys.readouterr().out
    assert "planned, bytes" in printed and str(info.dtype) + "[" not in printed
    with edgeinfer.load(double) as model:
        np.testing.assert_array_equal(np.load(saved), model.run(x))
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    assert main(arguments) == 1
    assert "takes int8, got float32" in capsys.readouterr().err


def test_several_inputs_are_zeros_where_none_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pair.edge"
    path.write_bytes(two_in_two_out())
    assert main(["run", str(path), "--report-memory", "--json"]) == 0
    assert_as_planned(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("draft", [pooled(8), two_inputs(ahead=2)])
def test_inputs_that_are_held_by_rows_are_fed(
    draft: Draft, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fed.edge"
    path.write_bytes(draft.write())
    assert main(["run", str(path), "--report-memory", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert_as_planned(found)
    held = sum(place.ring_rows * value.row_bytes for value, place in draft.placements.items())
    assert found["measured"]["fed_by_rows"]
    assert found["measured"]["arena_bytes_written"] == held  # rings of the inputs, all of the rest
    assert main(["run", str(path), "--report-memory"]) == 0
    assert "bytes written, by a run that is fed by rows" in capsys.readouterr().out


def test_a_byte_beside_the_sessions_memory_is_seen(
    double: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement itself, on a run that writes where it must not."""
    run, init = session_memory._RawSession.run, session_memory._RawSession.init
    where: list[int] = []

    def init_and_remember(self: Any, memory: Any) -> None:
        where[:] = [memory.ctypes.data, memory.nbytes]
        init(self, memory)

    def run_and_stray(self: Any) -> None:
        run(self)
        start, size = where
        for address in (start - 1, start + size):
            ffi.buffer(ffi.cast("char *", address), 1)[0:1] = b"\1"

    monkeypatch.setattr(session_memory._RawSession, "init", init_and_remember)
    monkeypatch.setattr(session_memory._RawSession, "run", run_and_stray)
    monkeypatch.setattr(session_memory, "_measure_growth", lambda *_: None)
    found = measure_session(double, SessionOptions(), lambda _: None)
    assert found.bytes_written_outside == 2


def test_usage_and_failures_keep_their_exit_codes(
    double: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(double)]) == 2
    assert "give an input" in capfd.readouterr().err
    assert main(["run", str(double), "--report-memory", "--engine", "numba"]) == 2
    assert main(["run", str(double), "--report-memory", "-o", str(tmp_path / "y.npz")]) == 2
    assert main(["run", str(double), "--report-memory", "--ram-budget", "1"]) == 4
    assert main(["run", str(double), "--report-memory", "--ram-budget", "0"]) == 4
    assert main(["run", str(tmp_path / "gone.edge"), "--report-memory"]) == 1
    double.write_bytes(double.read_bytes()[:-9])
    assert main(["run", str(double), "--report-memory"]) == 1
    capfd.readouterr()
    assert main(["run", str(random_draws(tmp_path / "draws.onnx", 1)), "--report-memory"]) == 3
    assert "RandomNormalLike" in capfd.readouterr().err


def test_what_the_system_does_not_tell_is_said() -> None:
    unknown = SessionMemory("scalar", 1, 10, 0, 0, 20, 30, 0)
    unknown.phases.append(Phase("first run", None, None, 1, 0, None))
    text = as_text(unknown)
    assert "not measured, for this C library has no mincore" in text
    assert "not measured, for this C library has no makecontext" in text
    assert "unknown" in text and "model file" not in text
