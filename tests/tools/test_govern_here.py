"""The tool that watches a governed run from outside: what it takes for a broken promise."""

from __future__ import annotations

import pytest

from tools.govern_here import Mark, judge

ALLOWED = 100.0


def marks(
    rates: list[float], told: float = 1.0, speeds: list[float] | None = None
) -> list[tuple[Mark, Mark]]:
    """Slots of ten seconds: what a governed child did, and a reference at 100 runs a second."""
    found = [(Mark(0.0, 0, 0.0), Mark(0.0, 0, 0.0))]
    for rate, speed in zip(rates, speeds or [1.0] * len(rates), strict=True):
        child, reference = found[-1]
        cost = 1e-3 / speed
        found.append(
            (
                Mark(child.time + 10, child.runs + round(10 * told * rate),
                     child.cpu + 10 * rate * (cost + 1e-4 / speed)),
                Mark(reference.time + 10, reference.runs + 1000, reference.cpu + 1000 * cost),
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("rates", "told", "speeds", "code"),
    [
        ([98.0] * 6, 1.0, None, 0),
        ([98, 97, 96, 98, 99, 98], 1.0, None, 0),
        # A run takes more and less CPU time: the machine's doing, as the reference shows.
        ([98.0] * 6, 1.0, [1.0, 1.1, 0.9, 1.0, 1.2, 0.95], 0),
        ([98, 98, 93, 98, 98, 98], 1.0, None, 1),  # not held
        ([101.0] * 6, 1.0, None, 1),  # above the budget
        ([49.0] * 6, 2.0, None, 1),  # twice as many runs told as were run
    ],
)
def test_what_is_taken_for_a_broken_promise(
    rates: list[float], told: float, speeds: list[float] | None, code: int
) -> None:
    assert judge("model", 1.0, ALLOWED, marks(rates, told, speeds)) == code


def test_runs_are_counted_from_outside_and_not_only_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = marks([98.0] * 6)
    child, reference = found[3]
    # Sixty runs of the third slot are told there and were run in the fourth.
    found[3] = (child._replace(cpu=child.cpu - 0.066), reference)
    assert judge("model", 1.0, ALLOWED, found) == 1
    assert "-6.1" in capsys.readouterr().out
