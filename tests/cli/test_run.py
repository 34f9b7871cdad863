"""`edgeinfer run`: files that are damaged, inputs given twice, stacks that do not fit together."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.cli import main
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model
from edgeinfer.errors import InputError
from tests.device.programs import one_in_one_out, two_in_two_out


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("double.edge").write_bytes(one_in_one_out())
    Path("pair.edge").write_bytes(two_in_two_out())


def write_empty(path: Path) -> None:
    path.write_bytes(b"")


def write_noise(path: Path) -> None:
    path.write_bytes(b"these are no arrays" * 9)


def write_cut_short(path: Path) -> None:
    save = np.savez if path.suffix == ".npz" else np.save
    save(path, np.zeros((1, 4, 3), np.int8))
    path.write_bytes(path.read_bytes()[:-7])


def write_objects(path: Path) -> None:
    save = np.savez if path.suffix == ".npz" else np.save
    save(path, np.array([{}, None], object))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("write", [write_empty, write_noise, write_cut_short, write_objects])
def test_run_names_an_array_file_that_cannot_be_read(
    suffix: str, write: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"x{suffix}")
    write(path)
    assert main(["run", "double.edge", "-i", str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"edgeinfer: {path}: not a readable {suffix} file: ")
    assert "Traceback" not in said and "allow_pickle=True" not in said


def test_run_names_an_archive_member_that_is_no_array(capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert main(["run", "double.edge", "-i", "x.npz"]) == 1
    assert "notes.txt" in capsys.readouterr().err
    zipfile.ZipFile("none.npz", "w").close()
    assert main(["run", "double.edge", "-i", "none.npz"]) == 1
    assert "holds no array" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_run_survives_every_damage_to_an_array_file(
    suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"x{suffix}")
    save = np.savez_compressed if suffix == ".npz" else np.save
    save(path, np.zeros((1, 4, 3), np.int8))
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        assert main(["run", "double.edge", "-i", str(path)]) in (0, 1)  # and no other exception
    assert capsys.readouterr().err


def test_run_refuses_an_input_given_twice(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", np.zeros(6, np.int8))
    np.savez("both.npz", a=np.zeros(6, np.int8), b=np.zeros(6, np.int8))
    for given in (["a=a.npy", "a=a.npy"], ["both.npz", "a=a.npy"]):
        flags = [word for spec in given for word in ("-i", spec)]
        assert main(["run", "pair.edge", *flags]) == 1
        assert "input 'a' is given twice" in capsys.readouterr().err
    np.save("x.npy", np.zeros((1, 4, 3), np.int8))
    assert main(["run", "double.edge", "-i", "x.npy", "-i", "x.npy"]) == 1
    assert "given twice" in capsys.readouterr().err


def test_run_gives_a_file_to_the_input_that_it_is_said_to_be_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, two = np.full(6, 1, np.int8), np.full(6, 2, np.int8)
    np.savez("called_b.npz", b=one)
    np.savez("both.npz", a=two, b=one)
    np.savez("others.npz", p=one, q=two)
    arguments = ["run", "pair.edge", "--json", "-i", "b=both.npz", "-i"]
    assert main([*arguments, "a=called_b.npz"]) == 0
    assert json.loads(capsys.readouterr().out) == {"largest": [1] * 6, "negated": [-1] * 6}
    assert main([*arguments, "a=both.npz"]) == 0
    assert json.loads(capsys.readouterr().out) == {"largest": [2] * 6, "negated": [-2] * 6}
    assert main([*arguments, "a=others.npz"]) == 1
    assert "none is called 'a'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((2, 6), (6,), "input 'a' is a stack and input 'b' is not"),
        ((6,), (2, 6), "input 'b' is a stack and input 'a' is not"),
        ((2, 6), (3, 6), "stacks of different lengths"),
        ((0, 6), (0, 6), "stack of no inputs"),
    ],
)
def test_run_refuses_stacks_that_do_not_fit_together(
    a: tuple[int, ...], b: tuple[int, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("both.npz", a=np.zeros(a, np.int8), b=np.zeros(b, np.int8))
    assert main(["run", "pair.edge", "-i", "both.npz"]) == 1
    assert words in capsys.readouterr().err


def test_run_of_stacks_takes_the_inputs_of_one_run_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = np.arange(12, dtype=np.int8).reshape(2, 6), np.full((2, 6), 7, np.int8)
    np.savez("both.npz", a=a, b=b)
    assert main(["run", "pair.edge", "-i", "both.npz", "--json"]) == 0
    expected = {"largest": np.maximum(a, b).tolist(), "negated": (-a).tolist()}
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize("shape", [(0, 1, 4, 3), (0, 4, 3)])
def test_run_refuses_a_stack_of_nothing(
    shape: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", np.zeros(shape, np.int8))
    assert main(["run", "double.edge", "-i", "x.npy"]) == 1
    assert "stack of no inputs" in capsys.readouterr().err


def test_run_does_not_replace_what_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.zeros((1, 4, 3), np.int8))
    before = Path("x.npy").read_bytes(), Path("double.edge").read_bytes()
    for output in ("x.npy", "double.edge"):
        assert main(["run", "double.edge", "-i", "x.npy", "-o", output]) == 1
        assert "would replace" in capsys.readouterr().err
    assert (Path("x.npy").read_bytes(), Path("double.edge").read_bytes()) == before


def test_run_writes_json_that_strict_readers_take(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = Value("x", (1, 4), "float32"), Value("y", (1, 4), "float32")
    program = Program("main", [x], [y], [Operation("copy", [x], [y], {"reserved": 0}, "same")])
    Path("same.edge").write_bytes(write_model([(program, plan_program(program))], {}))
    np.save("x.npy", np.array([[np.nan, np.inf, -np.inf, 1.5]], np.float32))
    assert main(["run", "same.edge", "-i", "x.npy", "--json"]) == 0

    def refuse(constant: str) -> None:
        raise InputError(constant)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {"y": [["NaN", "Infinity", "-Infinity", 1.5]]}
    np.testing.assert_array_equal([float(v) for v in found["y"][0]], np.load("x.npy")[0])
