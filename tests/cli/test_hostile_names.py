"""Names in a file may hold anything; a terminal and an SVG get only what can be seen."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.cli import main
from edgeinfer.convert.draw import plan_png, plan_svg, plan_table
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.printing import printable
from tests.requirements import require_module

CLEAR_SCREEN = "\x1b[2J"
TITLE = "\x1b]0;owned\x07"
RIGHT_TO_LEFT = "\u202e"
HOSTILE = f'{CLEAR_SCREEN}{TITLE}\r\n\x9b\x00{RIGHT_TO_LEFT}\ufffe$\\frac{{$<&">'
SEEN = "?[2J?]0;owned?????"


def hostile_model() -> bytes:
    x, y = Value(f"x{HOSTILE}", (1, 4), "int8"), Value(f"y{HOSTILE}", (1, 4), "int8")
    copy = Operation("copy", [x], [y], {"reserved": 0}, f"node{HOSTILE}")
    program = Program(f"main{HOSTILE}", [x], [y], [copy])
    return write_model([(program, plan_program(program))], {f"key{HOSTILE}": HOSTILE})


def assert_can_be_seen(text: str) -> None:
    assert [c for c in text if not (c.isprintable() or c == "\n")] == []


def test_what_cannot_be_seen_becomes_a_question_mark() -> None:
    assert printable("conv/Relu é 漢 <1>") == "conv/Relu é 漢 <1>"
    assert printable(HOSTILE).startswith(SEEN)
    assert printable("a\tb\u2028c\ud800d\u200be") == "a?b?c?d?e"


def test_commands_print_no_control_character(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hostile.edge"
    path.write_bytes(hostile_model())
    np.save(tmp_path / "x.npy", np.zeros((1, 4), np.int8))
    for arguments in (["inspect", "--params"], ["plan"], ["run", "-i", str(tmp_path / "x.npy")]):
        assert main([arguments[0], str(path), *arguments[1:]]) == 0
        printed = capsys.readouterr().out
        assert_can_be_seen(printed)
        assert "?[2J" in printed or arguments == ["plan"]


def test_error_messages_hold_no_control_character(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hostile.edge"
    path.write_bytes(hostile_model())
    for arguments in (
        ["bench", str(path), "--tier", f"none{CLEAR_SCREEN}"],
        ["run", str(path), "-i", str(tmp_path / f"gone{CLEAR_SCREEN}.npy")],
        ["convert", str(tmp_path / f"gone{CLEAR_SCREEN}.tflite")],
    ):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("edgeinfer: ")
        assert_can_be_seen(said)


def test_plans_of_hostile_names_are_drawn(tmp_path: Path) -> None:
    (program,) = read_model(hostile_model()).programs
    assert_can_be_seen(plan_table(program))
    svg = plan_svg(program)
    assert_can_be_seen(svg)
    texts = [element.text or "" for element in ElementTree.fromstring(svg).iter()]
    assert any(SEEN[:-3] in text for text in texts)  # the writer has replaced the zero
    require_module("matplotlib")
    plan_png(program, tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
