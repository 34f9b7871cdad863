"""tools/musl_test.py: the musl wheel runs on musl; and what it compares, it can refuse."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device.programs import one_in_one_out
from tests.requirements import missing
from tools import musl_test

MACHINE = musl_test.Machine("x86_64", "amd64", None, ("scalar", "avx2"))


@pytest.mark.slow
def test_the_musl_wheel_gives_this_machines_bits(repo_root: Path) -> None:
    command = [sys.executable, str(repo_root / "tools" / "musl_test.py"), "--machine", "x86_64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == musl_test.SKIPPED:
        missing(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert "musllinux_1_2_x86_64.whl" in done.stdout
    assert "files as here" in done.stdout


def case(folder: Path) -> musl_test.Case:
    model = folder / "model.edge"
    model.write_bytes(one_in_one_out())
    return musl_test.make_case(model, musl_test.INPUTS, folder)


def on_musl(tiers: str, outputs: bytes, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let every run write these outputs; how often which tier was run fills the list."""
    runs: list[list[str]] = []

    def run(machine: musl_test.Machine, words: list, jobs: str = "", **more: str) -> str:
        if words[-1] == "TIERS":
            return tiers
        runs.append([str(word) for word in words[2:]])
        for line in jobs.splitlines():
            Path(line.split()[-1]).write_bytes(outputs)
        return ""

    monkeypatch.setattr(musl_test, "run_on_musl", run)
    return runs


def test_the_same_bytes_on_every_tier_and_thread_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = case(tmp_path)
    runs = on_musl("scalar\navx2\n", made.wanted, monkeypatch)
    found, digest = musl_test.compare(MACHINE, tmp_path, tmp_path, [made], tmp_path)
    assert found == ["scalar", "avx2"]
    assert runs == [["scalar", "1"], ["scalar", "2"], ["avx2", "1"], ["avx2", "2"]]
    assert digest == hashlib.sha256(made.wanted).hexdigest()


def test_one_other_byte_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = case(tmp_path)
    on_musl("scalar\navx2\n", made.wanted[:-1] + b"?", monkeypatch)
    with pytest.raises(musl_test.Failure, match=r"tier scalar, 1 threads: model gives other"):
        musl_test.compare(MACHINE, tmp_path, tmp_path, [made], tmp_path)


@pytest.mark.parametrize("tiers", ["scalar", "scalar avx2 avxvnni"])
def test_other_tiers_fail(tiers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = case(tmp_path)
    on_musl(tiers, made.wanted, monkeypatch)
    with pytest.raises(musl_test.Failure, match=r"not scalar, avx2"):
        musl_test.compare(MACHINE, tmp_path, tmp_path, [made], tmp_path)


def test_a_case_holds_what_this_machine_gives(tmp_path: Path) -> None:
    made = case(tmp_path)
    assert made.inputs.stat().st_size > 0
    assert len(made.wanted) % musl_test.INPUTS == 0
    assert made.wanted[0] == 0  # the run was not refused
