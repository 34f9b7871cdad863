"""tools/fuzz.py: that it does try the kernels, and says so when it does not."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model
from tests.device.programs import one_in_one_out, two_in_two_out
from tests.requirements import require_c_compiler
from tools import fuzz


@pytest.fixture(scope="module")
def harness() -> Path:
    require_c_compiler()
    return fuzz.build_harness()


def model_of_bytes(count: int) -> bytes:
    x, y = Value("x", (count,), "int8"), Value("y", (count,), "int8")
    program = Program("main", [x], [y], [Operation("copy", [x], [y], {"reserved": 0}, "copy")])
    return write_model([(program, plan_program(program))], {})


def test_good_files_run(harness: Path) -> None:
    assert fuzz.seeds_that_do_not_run(harness, [one_in_one_out(), two_in_two_out()]) == []


def test_the_seeds_of_every_operator_run(harness: Path) -> None:
    assert fuzz.seeds_that_do_not_run(harness, fuzz.operator_seeds()) == []


def test_a_model_too_large_to_run_is_not_counted_as_run(harness: Path) -> None:
    target = fuzz.Harness(harness)
    assert target.run(model_of_bytes(1000)) == fuzz.STATUS_NAMES.index("ran")
    assert target.run(model_of_bytes(100 << 20)) == fuzz.STATUS_NAMES.index("memory")
    assert target.close() == ""


def test_a_damaged_seed_is_reported(harness: Path) -> None:
    (wrong,) = fuzz.seeds_that_do_not_run(harness, [one_in_one_out(), one_in_one_out()[:-1]])
    assert wrong.startswith("seed 1") and "format" in wrong


def test_mutants_are_repeatable_and_differ() -> None:
    def first(seed: int) -> list[bytes]:
        return list(itertools.islice(fuzz.mutants([one_in_one_out()], seed), 50))

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert len(set(first(1))) > 25  # some set a word to what it was


def test_fuzzing_a_folder_of_seeds(
    harness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "double.edge").write_bytes(one_in_one_out())
    assert fuzz.main(["--mutants", "1000", "--seeds", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "1,000 mutants" in printed and "0 findings" in printed and "ran" in printed


def test_a_folder_without_seeds_is_refused(harness: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(SystemExit, match=r"no \.edge file in"):
            fuzz.main(["--mutants", "10", "--seeds", str(folder)])


def test_seeds_that_do_not_run_end_the_fuzzing(
    harness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.edge").write_bytes(one_in_one_out()[:-1])
    assert fuzz.main(["--mutants", "10", "--seeds", str(tmp_path)]) == 1
    assert "seed 0" in capsys.readouterr().out


def test_fuzzing_that_hardly_runs_anything_fails(
    harness: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "double.edge").write_bytes(one_in_one_out())
    monkeypatch.setattr(fuzz, "mutants", lambda seeds, seed: itertools.repeat(seeds[0][:-1]))
    assert fuzz.main(["--mutants", "600", "--seeds", str(tmp_path)]) == 1
    assert "only 0 mutants ran" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("clangs", "expected"),
    [
        ({}, "cc"),
        ({"clang-9": 0, "clang-19": 0, "clang-format-20": 0}, "clang-19"),
        ({"clang-9": 0, "clang-19": 1}, "clang-9"),  # 19 lacks the sanitizers' runtime
        ({"clang": 0}, "clang"),
        ({"clang": 1, "clang-19": 1}, "cc"),
    ],
)
def test_the_newest_clang_with_sanitizers_compiles(
    clangs: dict[str, int], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in clangs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(fuzz.find_compiler()).name == expected
    monkeypatch.setenv("CC", "some-cc")
    assert fuzz.find_compiler() == "some-cc"
