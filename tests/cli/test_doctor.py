"""`edgeinfer doctor` where something is missing: the very place where it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer import _ffi
from edgeinfer.cli import main
from edgeinfer.system import state as state_module
from edgeinfer.system.kernel_files import KernelFiles
from tests.system.recorded import MACHINES, write_tree


def without_library(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setenv("EDGEINFER_LIBRARY", str(path))
    _ffi.lib.cache_clear()
    monkeypatch.setattr(_ffi, "lib", _ffi.lib.__wrapped__)  # nothing cached for other tests


@pytest.mark.parametrize("content", [None, b"", b"not a library"])
def test_doctor_tells_all_else_without_a_library(
    tmp_path: Path,
    content: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    library = tmp_path / "libedgeinfer.so"
    if content is not None:
        library.write_bytes(content)
    without_library(monkeypatch, library)
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert str(library) in report["library_error"]
    assert report["tier_ok"] is False and report["edgeinfer"] is None
    assert report["cpu"] and report["ram_bytes"] > 0 and report["numpy"] and report["extras"]
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert str(library) in printed and report["cpu"] in printed and "python" in printed


def test_doctor_says_when_the_package_was_not_built() -> None:
    program = """
import sys
sys.modules["edgeinfer._cdefs"] = None  # as if the file were not there
from edgeinfer.cli import main
sys.exit(main(["doctor", "--json"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert "_cdefs.py is missing" in report["library_error"]
    assert report["cpu"] and done.stderr == ""


def test_loading_says_when_the_package_was_not_built(tmp_path: Path) -> None:
    path = tmp_path / "x.edge"
    path.write_bytes(b"x" * 100)
    program = """
import sys
sys.modules["edgeinfer._cdefs"] = None
import edgeinfer
try:
    edgeinfer.load(sys.argv[1])
except edgeinfer.LibraryError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "pip install ." in done.stdout, done.stderr


def test_doctor_reports_no_error_where_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["library_error"] is None


@pytest.mark.parametrize("machine", MACHINES)
def test_doctor_shows_the_state_of_the_machine(
    machine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_tree(tmp_path, MACHINES[machine]())
    monkeypatch.setattr(state_module, "KernelFiles", lambda: KernelFiles(root))
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {heading} " in printed for heading in ("cores", "clock", "heat", "throttled"))
    assert main(["doctor", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)["state"]
    if machine == "jetson_orin":
        assert "Cortex-A78AE" in printed and state["zones"][1]["celsius"] is None
        assert [p["governor"] for p in state["policies"]] == ["schedutil"] * 2
    if machine in ("virtual_machine", "nothing"):
        assert printed.count("unknown: ") == (4 if machine == "nothing" else 3)
        assert state["firmware"] is None and state["boost"] is None
