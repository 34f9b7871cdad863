"""The picture of RAM against time."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert.page import ParetoPoint, pareto_svg
from edgeinfer.convert.page.pareto import pareto_front
from edgeinfer.errors import InputError

_SVG = "{http://www.w3.org/2000/svg}"
PLANS = [
    ParetoPoint("whole", 1935, 1505280),
    ParetoPoint("64 KiB", 1880, 559104, True),
    ParetoPoint("slow", 2800, 300000),
    ParetoPoint("small", 2600, 212576),
]


def points() -> st.SearchStrategy[list[ParetoPoint]]:
    return st.lists(
        st.builds(
            ParetoPoint,
            st.text(max_size=12),
            st.floats(0, 1e9, allow_nan=False),
            st.integers(0, 2**40),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )


def circles(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{_SVG}circle"))


def test_the_line_is_the_fastest_plan_that_fits() -> None:
    assert [p.label for p in pareto_front(PLANS)] == ["small", "64 KiB"]
    svg = pareto_svg(PLANS)
    (line,) = [e for e in ElementTree.fromstring(svg).iter() if e.get("class") == "front"]
    assert re.fullmatch(r"M[\d.]+ [\d.]+H[\d.]+V[\d.]+H[\d.]+", line.get("d", ""))
    kinds = {
        (c.findtext(f"{_SVG}title") or "").split("\n")[0]: c.get("class") for c in circles(svg)
    }
    assert kinds == {
        "small": "point",
        "64 KiB": "point default",
        "slow": "beaten",
        "whole": "beaten",
    }
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]
    assert "64 KiB (default)" in texts and "small" in texts and "slow" not in texts


@given(points())
def test_the_front_beats_every_plan_and_none_of_its_own(plans: list[ParetoPoint]) -> None:
    front = pareto_front(plans)
    for plan in plans:
        assert any(f.bytes <= plan.bytes and f.cost <= plan.cost for f in front)
    for a, b in itertools.pairwise(front):
        assert a.bytes < b.bytes and a.cost > b.cost


@given(points())
def test_every_plan_is_drawn_inside_the_picture_in_its_order(plans: list[ParetoPoint]) -> None:
    svg = pareto_svg(plans)
    drawn = circles(svg)
    assert len(drawn) == len(plans)
    shown = sorted(plans, key=lambda p: p.is_default)
    at = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in drawn]
    for (x, y), plan in zip(at, shown, strict=True):
        assert 92 <= x <= 812 and 54 <= y <= 362
        for (other_x, other_y), other in zip(at, shown, strict=True):
            assert plan.bytes > other.bytes or x <= other_x
            assert plan.cost > other.cost or y >= other_y


def test_more_bytes_lie_right_and_more_time_lies_higher() -> None:
    at = {
        (c.findtext(f"{_SVG}title") or "").split("\n")[0]: (float(c.get("cx", 0)), c.get("cy"))
        for c in circles(pareto_svg(PLANS))
    }
    assert at["small"][0] < at["slow"][0] < at["64 KiB"][0] < at["whole"][0]
    heights = [float(at[name][1] or 0) for name in ("slow", "small", "whole", "64 KiB")]
    assert heights == sorted(heights) and len(set(heights)) == 4


def test_names_are_escaped() -> None:
    svg = pareto_svg([("<b>&\x1b", 1.0, 10, True)], title="<i>", cost_name="<u>")
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]
    assert {"<b>&? (default)", "<i>", "<u>"} <= set(texts)


@pytest.mark.parametrize(
    ("plans", "problem"),
    [
        ([], "no plan"),
        ([("a", math.nan, 1, False)], "cost of nan"),
        ([("a", -1.0, 1, False)], "cost of -1"),
        ([("a", 1.0, -1, False)], "-1 bytes"),
    ],
)
def test_what_is_no_plan_is_refused(
    plans: list[tuple[str, float, int, bool]], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        pareto_svg(plans)
