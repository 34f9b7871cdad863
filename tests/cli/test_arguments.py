"""Options with values that mean nothing, and outputs that would replace what is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeinfer.cli import main
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
