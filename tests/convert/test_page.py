"""Plans as HTML pages: complete, alone, and safe with whatever names a file holds."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from edgeinfer.cli import main
from edgeinfer.convert.draw import explain_peak
from edgeinfer.convert.draw.timeline import Timeline, node_spans, step_groups
from edgeinfer.convert.model_file import FileProgram, FileStep
from edgeinfer.convert.page import plan_html
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Program
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from tests.convert.drawn_plans import Element, buffer, in_turns, parse_page
from tests.convert.random_programs import programs
from tests.device.programs import one_in_one_out

HOSTILE = "</script><img src=x onerror=alert(1)>\"'<!--&amp;\u2028\x1b[2J<svg/onload=alert(2)>"


def page_of(program: FileProgram) -> Element:
    return parse_page(plan_html([program], title="model.edge"))


def places(page: Element) -> dict[int, dict[str, float]]:
    """Left and right on both scales (a to b, c to d), bottom and height, in percent, by buffer."""
    found = {}
    for element in page.all(kind="buffer"):
        style = element.style
        place = {name: float(style[f"--{name}"]) for name in "abcd"}
        place |= {name: float(style[name].removesuffix("%")) for name in ("bottom", "height")}
        found[int(element.attributes["data-buffer"])] = place
    return found


def test_buffers_lie_in_time_and_address_on_both_scales() -> None:
    program = in_turns()
    found = places(page_of(program))
    # Operators have columns 0, 1 and 2 together, and 3; the group's steps share its two columns.
    assert found[0] == pytest.approx(
        {"a": 0, "b": 25 + 50 * 15 / 16, "c": 0, "d": 100 * 16 / 18, "bottom": 0, "height": 12.5},
        rel=1e-4,
    )
    assert found[2] == pytest.approx(
        {"a": 25, "b": 75, "c": 100 / 18, "d": 1700 / 18, "bottom": 37.5, "height": 12.5}, rel=1e-4
    )
    assert found[4]["a"] == 75 and found[4]["b"] == found[4]["d"] == 100


@given(programs())
def test_pages_are_well_formed_and_buffers_do_not_overlap(program: Program) -> None:
    (planned,) = read_model(write_model([(program, plan_program(program))], {})).programs
    found = places(page_of(planned))
    assert len(found) == len(planned.buffers)
    rectangles = list(found.values())
    for index, one in enumerate(rectangles):
        for other in rectangles[:index]:
            up = min(one["bottom"] + one["height"], other["bottom"] + other["height"]) - max(
                one["bottom"], other["bottom"]
            )
            for left, right in ("ab", "cd"):
                across = min(one[right], other[right]) - max(one[left], other[left])
                assert across <= 0.01 or up <= 0.01  # numbers are rounded to five digits


def test_rings_and_inputs_fed_by_rows_are_marked() -> None:
    whole = {e.attributes["id"]: e for e in page_of(in_turns()).all(kind="buffer")}
    assert [name for name, e in whole.items() if "ring" in e.classes] == ["p0b2"]
    assert "ring: 2/8 rows" in whole["p0b2"].text
    assert "ring: 2 of 8 rows held, 64 of 256 bytes" in whole["p0b2"].attributes["title"]
    assert "fed by rows" not in plan_html([in_turns()], title="")
    fed = page_of(in_turns(fed_rows=3))
    (given_by_rows,) = [e for e in fed.all(kind="buffer") if {"ring", "input"} <= e.classes]
    assert "fed by rows: 3/8 rows" in given_by_rows.text
    assert "graph input, fed by rows" in given_by_rows.attributes["title"]
    assert "graph input, fed by rows" in fed.all(kind="legend")[0].text
    assert "in (24 bytes, 3 of 8 rows, fed by rows) waits" in fed.all(kind="why")[0].text


def test_hovering_tells_all_of_a_buffer() -> None:
    titles = [e.attributes["title"] for e in page_of(in_turns()).all(kind="buffer")]
    assert titles[1].splitlines() == [
        "skip",
        "int8 [1, 8, 16, 1], scale 0.5, zero point -3",
        "buffer 1: 128 bytes at 64 to 191",
        "alive in steps 0 to 17 (18 of 18)",
        "written by conv2d make skip (step 0)",
        "read by add make out (step 17)",
    ]
    assert "written by conv2d make a (8 steps, 1 to 15)" in titles[2]
    assert "graph input" in titles[0] and "graph output" in titles[4]


def test_the_peak_is_marked_and_explained_by_what_is_read_written_and_waiting() -> None:
    program = in_turns()
    page = page_of(program)
    assert explain_peak(program) == (
        "Memory peaks in step 2, depthwise_conv2d make b (row 0 of 8): it reads a (64 bytes, 2 of "
        "8 rows) and writes b (128 bytes), while skip (128 bytes) waits for step 17, add make out; "
        "in (64 bytes) waits for step 3, conv2d make a. Together 384 bytes; 128 of the arena lie "
        "unused between them."
    )
    assert page.all(kind="why")[0].text == explain_peak(program)
    marks = page.all(kind="peak")
    drawn = [e for e in marks if "at" in e.classes]
    assert len(drawn) == 3  # over the curve, the buffers and the turns
    assert [float(e.style["--c"]) for e in drawn] == pytest.approx([200 / 18] * 3, rel=1e-4)
    (named,) = page.all(kind="at-peak")
    assert named.text == "depthwise_conv2d make b"


def test_a_result_in_the_place_of_an_operand_and_a_kept_output_are_said() -> None:
    program = in_turns()
    add = replace(program.nodes[3], outputs=program.nodes[2].outputs)
    kept = (*program.buffers[:4], buffer(384, 128, 0, 17, is_output=True))
    nodes = (*program.nodes[:3], add)
    program = replace(program, nodes=nodes, buffers=kept, peak_step=17)
    assert explain_peak(program) == (
        "Memory peaks in step 17, add make out: it reads b (128 bytes) and skip (128 bytes) and "
        "writes its result over it, while out (128 bytes) is kept for the caller. Together 384 "
        "bytes; 128 of the arena lie unused between them."
    )


def test_many_that_wait_are_counted() -> None:
    program = in_turns()
    more = tuple(buffer(512 + 64 * i, 8 + i, 0, 17) for i in range(4))
    program = replace(program, buffers=(*program.buffers, *more), arena_bytes=1000)
    assert "; 3 others (27 bytes) wait too. Together 422 bytes" in explain_peak(program)


def test_every_step_and_buffer_has_its_row() -> None:
    page = page_of(in_turns())
    (steps,) = page.all("details", "steps")
    rows = [row.all("td") for row in steps.all("tbody")[0].all("tr")]
    told = [[cell.text for cell in row] for row in rows if len(row) > 1]
    assert len(told) == 18
    used = "384"
    assert told[2] == ["2", "depthwise_conv2d", "make b", "row 0 of 8", "2 a", "3 b", used]
    assert told[17][:6] == ["17", "add", "make out", "all 8 rows", "3 b, 1 skip", "4 out"]
    (heading,) = [row[0].text for row in rows if len(row) == 1]
    assert heading == (
        "steps 1 to 16: 2 operators in turn, by bands of rows: conv2d, depthwise_conv2d"
    )
    (buffers,) = page.all("details", "buffers")
    found = [[cell.text for cell in row.all("td")] for row in buffers.all("tr")[1:]]
    assert len(found) == 5
    assert found[2] == ["2", "192", "64", "1 to 16", "2 of 8", "", "int8 [1, 8, 32, 1]", "a"]
    links = {link.attributes["href"] for link in page.all("a")}
    assert links == {f"#{e.attributes['id']}" for e in page.all(kind="buffer")}


def test_each_step_is_drawn_in_the_turns_of_its_operator() -> None:
    page = page_of(in_turns())
    turns = page.all(kind="turn")
    assert [turn.style["--row"] for turn in turns] == ["0", "1"]
    for turn in turns:
        path = turn.all("path")[0].attributes["d"]
        moves = [int(move) for move in re.findall(r"m(-?\d+) 0h1v1h-1z", path)]
        assert moves == [0] + [2] * 7


def test_the_script_gets_every_step() -> None:
    program = in_turns()
    (section,) = page_of(program).all("section")
    (data,) = [s for s in section.all("script") if s.attributes.get("type") == "application/json"]
    plan = json.loads(data.text)
    assert plan["groups"] == [[0, 0, 1], [1, 16, 2], [17, 17, 1]]
    assert plan["columns"] == sum(columns for _, _, columns in plan["groups"]) == 4
    assert plan["steps"][2] == [2, 0, 1, 384] and len(plan["steps"]) == 18
    assert plan["nodes"][2] == ["depthwise_conv2d", "make b", 8]
    assert plan["touched"] == [[0, 1], [0, 2], [2, 3], [3, 1, 4]]


def test_a_page_needs_nothing_else() -> None:
    curve = [("a", 1.0, 100, True), ("b", 2.0, 50, False)]
    text = plan_html([in_turns(), in_turns("second ")], title="model.edge", pareto=curve)
    page = parse_page(text)
    for element in page.all():
        assert element.tag not in {"link", "iframe", "object", "embed", "img", "base", "form"}
        for name, value in element.attributes.items():
            assert name not in {"src", "srcset", "action", "data", "xlink:href", "poster"}
            assert not name.startswith("on")
            assert name != "href" or value.startswith("#")
    for sheet in page.all("style"):
        assert "url(" not in sheet.text and "@import" not in sheet.text
    for script in page.all("script"):
        assert not re.search(r"\b(fetch|import|eval|XMLHttpRequest|innerHTML)\b", script.text)
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
    ids = [e.attributes["id"] for e in page.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids)) == 10
    assert len(page.all("svg", "pareto")) == 1


def test_the_policy_lets_the_pages_own_script_run_and_no_other() -> None:
    page = page_of(in_turns())
    (policy,) = [m for m in page.all("meta") if "http-equiv" in m.attributes]
    assert policy.attributes["http-equiv"] == "Content-Security-Policy"
    (script,) = [s for s in page.all("script") if "type" not in s.attributes]
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert policy.attributes["content"].split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]


def test_hostile_names_are_text_and_nothing_else() -> None:
    plain, hostile = in_turns(), in_turns(HOSTILE)
    points = [(HOSTILE, 1.0, 100, True)]
    expected = parse_page(plan_html([plain], title="x", pareto=[("a", 1.0, 100, True)]))
    text = plan_html([hostile], title=HOSTILE, pareto=points)
    page = parse_page(text)
    assert page.tags() == expected.tags()
    attributes = {(e.tag, name) for e in page.all() for name in e.attributes}
    assert attributes == {(e.tag, name) for e in expected.all() for name in e.attributes}
    assert "\u2028" not in text and "\x1b" not in text
    (heading,) = page.all("h1")
    assert "</script><img src=x onerror=alert(1)>" in heading.text
    for section in page.all("section"):
        data = section.all("script")[-1].text
        assert "<" not in data and ">" not in data and "&" not in data
        assert json.loads(data)["nodes"][0][1].startswith("…onerror=alert(1)>")


def test_groups_are_the_smallest_runs_that_no_operator_leaves() -> None:
    program = in_turns()
    groups = step_groups(program)
    assert [(g.first_step, g.last_step, g.nodes) for g in groups] == [
        (0, 0, (0,)),
        (1, 16, (1, 2)),
        (17, 17, (3,)),
    ]
    crossing = replace(program, steps=tuple(FileStep(n, 0, 1) for n in (0, 1, 0, 2, 1, 3, 3)))
    assert [g.nodes for g in step_groups(crossing)] == [(0, 1, 2), (3,)]
    assert [(s.node, s.steps, s.lane) for s in node_spans(crossing)] == [
        (0, (0, 2), 0),
        (1, (1, 4), 1),
        (2, (3,), 0),
        (3, (5, 6), 0),
    ]


def test_both_scales_rise_from_0_to_1_and_meet_where_groups_end() -> None:
    timeline = Timeline(step_groups(in_turns()))
    for scale in (timeline.by_operator, timeline.by_step):
        values = [scale(step) for step in range(19)]
        assert values[0] == 0 and values[-1] == 1
        assert all(a < b for a, b in itertools.pairwise(values))
    assert [timeline.by_operator(step) for step in (1, 9, 17)] == [0.25, 0.5, 0.75]


def test_a_page_without_the_converter_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, target = tmp_path / "double.edge", tmp_path / "plan.html"
    model.write_bytes(one_in_one_out())
    monkeypatch.setattr("edgeinfer.convert.find_spec", lambda _name: None)
    assert main(["plan", str(model), "--html", str(target)]) == 1
    assert "edgeinfer[convert]" in capsys.readouterr().err and not target.exists()
    assert main(["plan", str(model)]) == 0


def test_the_command_writes_a_page_and_keeps_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "double.edge"
    model.write_bytes(one_in_one_out())
    target = tmp_path / "plan.html"
    assert main(["plan", str(model), "--html", str(target)]) == 0
    page = parse_page(target.read_text(encoding="utf-8"))
    assert page.all("h1")[0].text == "Memory plan of double.edge"
    assert "Memory peaks in step 0" in capsys.readouterr().out
    assert main(["plan", str(model), "--html", str(model)]) == 1
    assert model.read_bytes() == one_in_one_out()
    assert main(["plan", str(model), "--html", str(target), "--svg", str(target)]) == 1
    assert "one file" in capsys.readouterr().err
    assert main(["plan", str(model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["programs"][0]
    assert told["peak_explained"].startswith("Memory peaks in step 0")
