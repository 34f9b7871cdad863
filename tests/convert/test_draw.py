"""Tables and drawings of plans."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from edgeinfer.convert.draw import plan_png, plan_svg, plan_table, short_name
from edgeinfer.convert.model_file import FileProgram, FileStep
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Program, Value
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.errors import MissingExtraError
from tests.convert.drawn_plans import in_turns
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


def test_operators_in_turn_share_their_columns_and_rings_are_hatched() -> None:
    program = in_turns()
    svg = plan_svg(program)
    places = [place for _, place in drawn_buffers(svg)]
    assert [place["x"] for place in places] == pytest.approx([96, 96, 346, 377.2, 846], abs=0.1)
    assert places[2]["width"] == pytest.approx(500, abs=0.1)  # two of four columns
    root = ElementTree.fromstring(svg)
    hatched = [r for r in root.iter(f"{_SVG}rect") if r.get("fill") == "url(#ring)"]
    assert len(hatched) == 2  # the ring, and in the legend
    assert {float(r.attrib["x"]) for r in hatched} >= {places[2]["x"]}
    assert "ring: 2 of 8 rows held" in drawn_buffers(svg)[2][0]
    labels = [text.text for text in root.iter(f"{_SVG}text") if text.get("transform")]
    assert labels[-4:] == ["0 conv2d", "1–15 conv2d", "2–16 depthwise_conv2d", "17 add"]
    assert "url(#ring)" not in plan_svg(example())


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
    for program in (example(), in_turns()):
        plan_png(program, tmp_path / "plan.png")
        assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_a_png_of_many_steps_is_no_wider_than_one_of_few(tmp_path: Path) -> None:
    require_module("matplotlib")
    program = in_turns()
    turns = [FileStep(node, 0, 1) for _ in range(1500) for node in (1, 2)]
    steps = (program.steps[0], *turns, program.steps[-1])
    buffers = tuple(
        replace(b, last_step=len(steps) - 1) if b.last_step > 1 else b for b in program.buffers
    )
    plan_png(replace(program, steps=steps, buffers=buffers), tmp_path / "plan.png")
    width = int.from_bytes((tmp_path / "plan.png").read_bytes()[16:20], "big")
    assert width == 1210


def test_a_png_without_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(MissingExtraError, match=r"edgeinfer\[plot\]"):
        plan_png(example(), tmp_path / "plan.png")
