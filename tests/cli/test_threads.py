"""--threads, --cpus and --performance-cores, as `run` and `bench` take them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.budget import SESSION_THREAD_BYTES
from edgeinfer.cli import main
from edgeinfer.cli.arguments import cpu_list
from tests.device.programs import one_in_one_out


@pytest.fixture
def edge_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.edge"
    path.write_bytes(one_in_one_out())
    return path


def json_of(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_bench_counts_the_threads_and_their_memory(
    edge_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEINFER_PART_WORK", "1")
    alone = edgeinfer.load(edge_file).plan.session_bytes
    cpu = str(min(os.sched_getaffinity(0)))
    for options in ([], ["--cpus", cpu], ["--performance-cores"]):
        arguments = ["bench", str(edge_file), "--runs", "5", "--threads", "3", *options]
        assert main([*arguments, "--json"]) == 0
        result = json_of(capsys)
        assert result["threads"] == 3
        assert result["session_bytes"] == alone + 2 * SESSION_THREAD_BYTES
        assert main(arguments) == 0
        assert "3 threads" in capsys.readouterr().out


def test_bench_says_that_threads_have_nothing_to_do(
    edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", str(edge_file), "--runs", "5", "--threads", "3"]
    assert main([*arguments, "--json"]) == 0
    assert json_of(capsys)["threads"] == 1
    assert main(arguments) == 0
    assert "1 thread (3 asked for; no step is long enough" in capsys.readouterr().out


def test_run_gives_the_same_with_threads(
    edge_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGEINFER_PART_WORK", "1")
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.int8).reshape(1, 4, 3))
    arguments = ["run", str(edge_file), "-i", str(tmp_path / "x.npy"), "--json"]
    assert main(arguments) == 0
    expected = json_of(capsys)
    assert main([*arguments, "--threads", "2"]) == 0
    assert json_of(capsys) == expected


def test_plan_tells_what_a_thread_adds(edge_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(edge_file), "--json"]) == 0
    assert json_of(capsys)["programs"][0]["thread_bytes"] == SESSION_THREAD_BYTES
    assert main(["plan", str(edge_file)]) == 0
    assert f"each thread beyond the first: {SESSION_THREAD_BYTES:,}" in capsys.readouterr().out


def test_a_cpu_that_is_not_there_is_named(
    edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(edge_file), "--threads", "2", "--cpus", "0,1023"]) == 1
    assert "CPU 1023 is not available" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", [0]), ("3,1", [3, 1]), ("0,2-4", [0, 2, 3, 4]), ("5-5", [5])]
)
def test_lists_of_cpus(text: str, cpus: list[int]) -> None:
    assert cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "1,", "-1", "1-", "3-2", "0-1024", "1 2", "0x1"])
def test_lists_that_are_none_are_refused(
    text: str, edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["bench", str(edge_file), f"--cpus={text}"])
    assert "--cpus" in capsys.readouterr().err
