"""Options with values that mean nothing, and outputs that would replace what is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeinfer.cli import main
from edgeinfer.cli.arguments import require_writable
from edgeinfer.errors import InputError
from tests.device.programs import one_in_one_out


@pytest.fixture
def edge_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.edge"
    path.write_bytes(one_in_one_out())
    return path


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("bench", "--runs", "0"),
        ("bench", "--runs", "-3"),
        ("bench", "--runs", "many"),
        ("bench", "--seconds", "0"),
        ("bench", "--seconds", "-1"),
        ("bench", "--seconds", "nan"),
        ("bench", "--seconds", "inf"),
        ("bench", "--seconds", "soon"),
        ("bench", "--seed", "-1"),
        ("run", "--ram-budget", "abc"),
        ("convert", "--ram-budget", "abc"),
        ("convert", "--ram-budget", "96 apples"),
    ],
)
def test_a_value_without_meaning_is_wrong_usage(
    edge_file: Path,
    command: str,
    option: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ["-i", "x.npy"] if command == "run" else []
    with pytest.raises(SystemExit) as caught:
        main([command, str(edge_file), *more, f"{option}={value}"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert option in said and value.split()[0].lstrip("-") in said


def same_name(source: Path) -> Path:
    return source


def relative(source: Path) -> Path:
    return Path(os.path.relpath(source))


def symlink(source: Path) -> Path:
    link = source.with_name("link.edge")
    link.symlink_to(source)
    return link


def hard_link(source: Path) -> Path:
    link = source.with_name("hard.edge")
    link.hardlink_to(source)
    return link


@pytest.mark.parametrize("name", [same_name, relative, symlink, hard_link])
def test_convert_does_not_replace_its_source(
    tmp_path: Path,
    digits_dir: Path,
    name: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "digits.onnx"
    data = (digits_dir / "digits_int8.onnx").read_bytes()
    source.write_bytes(data)
    assert main(["convert", str(source), "-o", str(name(source))]) == 1
    assert "would replace" in capsys.readouterr().err
    assert source.read_bytes() == data


def test_convert_replaces_an_older_output(tmp_path: Path, digits_dir: Path) -> None:
    output = tmp_path / "digits.edge"
    output.write_bytes(b"older")
    assert main(["convert", str(digits_dir / "digits_int8.onnx"), "-o", str(output)]) == 0
    assert output.read_bytes().startswith(b"EDGEINF")


def test_plan_does_not_draw_over_the_model(
    edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = edge_file.read_bytes()
    for option in ("--svg", "--png"):
        assert main(["plan", str(edge_file), option, str(edge_file)]) == 1
        assert "would replace" in capsys.readouterr().err
    assert edge_file.read_bytes() == before


def no_conversion(*args: object, **options: object) -> None:
    raise AssertionError("what cannot be written must be found before the conversion")


@pytest.mark.parametrize(
    ("option", "target", "reason"),
    [
        ("-o", "nowhere/x.edge", "nowhere does not exist"),
        ("-o", "folder", "it is a folder"),
        ("-o", "file/x.edge", "file is no folder"),
        ("--report", "nowhere/r.html", "nowhere does not exist"),
        ("--report", "folder/sub.html", "it is a folder"),
        ("--report", "file/r.json", "file is no folder"),
        ("--report", "data.json", "would replace"),
        ("--report", "same.json", "are one file"),
    ],
)
def test_outputs_that_cannot_be_written_are_found_before_the_conversion(
    tmp_path: Path,
    option: str,
    target: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import edgeinfer.convert

    monkeypatch.setattr(edgeinfer.convert, "convert", no_conversion, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder" / "sub.html").mkdir(parents=True)
    for name in ("file", "m.onnx", "data.json"):
        Path(name).write_bytes(b"x")
    arguments = ["convert", "m.onnx", "--calibrate", "data.json", option, target]
    if target == "same.json":
        arguments += ["--report", "./folder/../same.json"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert reason in said and target in said and ".tmp" not in said
    assert Path("data.json").read_bytes() == b"x"


def test_a_folder_that_is_not_writable_is_named(
    tmp_path: Path, edge_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the system says, which lets root write everywhere: so it is asked in its place."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    require_writable(edge_file)  # is there, and written in place
    with pytest.raises(InputError, match=f"cannot write .*: {tmp_path} is not writable"):
        require_writable(edge_file, in_place=False)
    with pytest.raises(InputError, match=r"cannot write .*new\.html"):
        require_writable(tmp_path / "new.html")


@pytest.mark.parametrize("option", ["--svg", "--png"])
def test_plan_names_the_drawing_that_cannot_be_written(
    edge_file: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(edge_file), option, "/nowhere/plan.svg"]) == 1
    assert "cannot write /nowhere/plan.svg: /nowhere does not exist" in capsys.readouterr().err
