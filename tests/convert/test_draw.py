"""Tables and drawings of plans."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given

from edgeinfer.convert.draw import plan_png, plan_svg, plan_table, short_name
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Program, Value
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.errors import MissingExtraError
from tests.convert.random_programs import add, lut8, programs, transpose
from tests.requirements import require_module

_SVG = "{http://www.w3.org/2000/svg}"


def planned(program: Program) -> FileProgram:
    return read_model(write_model([(program, plan_program(program))], {})).programs[0]


def example() -> FileProgram:
    x, a, b, y = (Value(name, (16, 64), "int8") for name in ("in", "block/a", "block/b", "out<1>"))
    operations = [lut8(x, a, 0), transpose(a, b, (0, 1)), add(a, b, y)]
    return planned(Program("main & more", [x], [y], operations))


def drawn_buffers(svg: str) -> list[tuple[str, dict[str, float]]]:
    """Title and rectangle of everything that has a title."""
    found = []
    for rectangle in ElementTree.fromstring(svg).iter(f"{_SVG}rect"):
        title = rectangle.find(f"{_SVG}title")
        if title is not None:
            place = {key: float(rectangle.attrib[key]) for key in ("x", "y", "width", "height")}
            found.append((title.text or "", place))
    return found


def test_every_buffer_is_drawn_in_time_and_address() -> None:
    program = example()
    buffers = drawn_buffers(plan_svg(program))
    assert len(buffers) == len(program.buffers) == 3
    for (title, place), buffer in zip(buffers, program.buffers, strict=True):
        assert f"{buffer.bytes:,} bytes at {buffer.offset:,}" in title
        assert f"steps {buffer.first_step} to {buffer.last_step}" in title
        column = place["width"] / (buffer.last_step - buffer.first_step + 1)
        assert column == pytest.approx(1000 / 3, abs=0.1)
        assert place["height"] == pytest.approx(460 * buffer.bytes / program.arena_bytes, abs=0.1)


@given(programs())
def test_drawings_are_well_formed_and_buffers_do_not_overlap(program: Program) -> None:
    found = planned(program)
    places = [place for _, place in drawn_buffers(plan_svg(found))]
    assert len(places) == len(found.buffers)
    for index, a in enumerate(places):
        for b in places[:index]:
            across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
            up = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
            assert across <= 0.2 or up <= 2  # rounding, and slivers that are kept visible


def test_names_are_escaped_and_shown() -> None:
    svg = plan_svg(example())
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]
    assert "Arena of main & more: 2,048 bytes" in texts
    assert "out<1>" in "".join(title for title, _ in drawn_buffers(svg))
    assert "block/b" in texts


def test_the_peak_is_marked() -> None:
    program = example()
    texts = ElementTree.fromstring(plan_svg(program)).iter(f"{_SVG}text")
    (bold,) = [t for t in texts if t.get("font-weight") == "bold" and t.get("transform")]
    peak = program.nodes[program.steps[program.peak_step].node]
    assert bold.text == f"{program.peak_step} {peak.operator}"


def test_the_table_lists_buffers_bytes_offsets_steps_and_names() -> None:
    program = example()
    table = plan_table(program)
    lines = table.splitlines()
    assert lines[0] == "program 'main & more'"
    for index, (line, buffer) in enumerate(zip(lines[3:], program.buffers, strict=False)):
        cells = line.split()
        assert cells[:3] == [str(index), str(buffer.offset), str(buffer.bytes)]
        assert f"{buffer.first_step}..{buffer.last_step}" in cells
        alive = buffer.first_step <= program.peak_step <= buffer.last_step
        assert ("*" in cells) == alive
    assert "block/a" in table
    assert "2,048 bytes are in use" in lines[-1]


def test_names_are_shortened_to_their_telling_end() -> None:
    assert short_name("model/block_1/conv/Relu;model/block_1/conv/Conv2D") == "conv/Relu"
    assert short_name("x" * 40) == "…" + "x" * 27
    assert short_name("") == ""


def test_a_png_is_drawn(tmp_path: Path) -> None:
    require_module("matplotlib")
    plan_png(example(), tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_a_png_without_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(MissingExtraError, match=r"edgeinfer\[plot\]"):
        plan_png(example(), tmp_path / "plan.png")
