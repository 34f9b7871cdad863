"""What energy counters do: wrap, restart, jump, stand still, change their range, or cannot be read.

Each is a fault with a name, none is an exception, and none adds energy that was not drawn.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.power.faults import Fault
from edgeinfer.power.meter import Meter, MeterThread
from edgeinfer.power.rapl import find
from edgeinfer.power.reading import Reading
from tests.power import boards
from tests.power.boards import POWERCAP, Board

ZONE = f"{POWERCAP}/intel-rapl:0"
ENERGY, RANGE = f"{ZONE}/energy_uj", f"{ZONE}/max_energy_range_uj"
RANGE_J = 1000.0  # wraps after 1 s at the most that a package may draw


class Package:
    """A processor package and its meter."""

    def __init__(self, root: Path, joules: float = 0.0, range_joules: float = RANGE_J) -> None:
        tree = boards.rapl_zone("intel-rapl:0", "package-0", joules, round(range_joules * 1e6))
        self.board = Board(root, tree)
        self._shown_range = str(round(range_joules * 1e6))
        self.meter: Meter = find(self.board.files, self.board.clock)[0]

    def show(self, joules: float | str) -> None:
        text = joules if isinstance(joules, str) else str(round(joules * 1e6))
        self.board.write({ENERGY: f"{text}\n"})

    def show_range(self, joules: float | str) -> None:
        text = joules if isinstance(joules, str) else str(round(joules * 1e6))
        if text != self._shown_range:
            self._shown_range = text
            self.board.write({RANGE: f"{text}\n"})

    def read(self, seconds: float = 0.1) -> Reading:
        self.board.clock.now += seconds
        return self.meter.read()

    def after(self, *values: float | str) -> list[tuple[float | None, Fault | None]]:
        """Joules and fault after each value, read every tenth of a second."""
        found = []
        for value in values:
            self.show(value)
            reading = self.read()
            found.append(
                (None if reading.joules is None else round(reading.joules, 6), reading.fault)
            )
        return found


def test_a_wrap_is_counted_by_the_range(tmp_path: Path) -> None:
    package = Package(tmp_path, 998.0)
    assert package.after(998, 999, 1, 2) == [(0, None), (1, None), (3, None), (4, None)]


def test_many_wraps_one_between_two_readings_each(tmp_path: Path) -> None:
    package = Package(tmp_path)
    package.after(0)
    for drawn in range(90, 9001, 90):
        package.show(drawn % RANGE_J)
        reading = package.read()
        assert reading.fault is None and reading.joules == pytest.approx(drawn)


def test_two_wraps_between_readings_cannot_be_told_and_are_not_counted(tmp_path: Path) -> None:
    """Whether the value rose or fell: after a second at 1000 W it may have wrapped any times."""
    package = Package(tmp_path, 100.0)
    package.after(100)
    for value in (300.0, 50.0):
        package.show(value)
        reading = package.read(seconds=1.5)
        assert (reading.fault, reading.joules) == (Fault.TOO_LATE, 0)
    assert reading.unmetered == pytest.approx(3.0)
    package.show(51.0)
    assert package.read().joules == pytest.approx(1.0)


def test_the_polling_interval_rules_out_two_wraps(tmp_path: Path) -> None:
    """Whatever the package draws, up to 1000 W, no wrap is lost at the longest interval."""
    package = Package(tmp_path)
    assert package.meter.longest_interval == 0.5
    assert MeterThread(package.meter, interval=60).interval == 0.5
    assert MeterThread(package.meter).interval == 0.1
    package.after(0)
    for step in range(1, 41):
        package.show(step * 499.9 % RANGE_J)
        assert package.read(seconds=0.5).joules == pytest.approx(step * 499.9)
    servers = Package(tmp_path / "server", range_joules=65_532.61)
    assert servers.meter.longest_interval == pytest.approx(32.77, abs=0.01)


def test_a_wrap_whose_range_cannot_be_read_is_dropped(tmp_path: Path) -> None:
    package = Package(tmp_path, 990.0)
    package.after(990)
    for bad in ("", "-5", "nan", "0", "1e9"):
        package.show_range(bad)
        before = package.after(995)[0][0]
        (found,) = package.after(3)
        assert found == (before, Fault.RANGE_UNKNOWN)
        package.show_range(RANGE_J)
        package.after(990, 990)
    package.board.denied = {RANGE}
    assert package.after(995, 3)[-1][1] is Fault.RANGE_UNKNOWN
    package.board.denied = set()
    before = package.read().joules
    assert package.after(4) == [((before or 0) + 1, None)]


def test_what_a_counter_did_not_show_before_it_was_lost_is_unmetered_too(tmp_path: Path) -> None:
    package = Package(tmp_path, 500.0)
    package.after(500, 500, 500)  # it stood still for two tenths of a second, then started anew
    assert package.after(0, 1) == [(0, Fault.COUNTER_RESET), (1, None)]
    assert package.read().unmetered == pytest.approx(0.3)


def test_a_range_that_changed_is_not_used(tmp_path: Path) -> None:
    package = Package(tmp_path, 990.0)
    package.after(990)
    package.show_range(2000)
    assert package.after(3, 5) == [(0, Fault.RANGE_CHANGED), (2, None)]
    assert package.after(1500)[0][1] is Fault.IMPLAUSIBLE  # within the new range, but a jump
    assert package.after(6, 7) == [(3, None), (4, None)]
    package = Package(tmp_path / "another", 990.0)
    package.after(990)
    package.show_range(1010)  # where it wrapped nobody knows, at 1000 or at 1010
    assert package.after(3, 5, 6) == [(0, Fault.RANGE_CHANGED), (2, None), (3, None)]


def test_a_value_beyond_the_range_is_none_unless_the_range_grew(tmp_path: Path) -> None:
    package = Package(tmp_path, 990.0)
    assert package.after(990, 1001)[-1] == (0, Fault.IMPLAUSIBLE)
    package.show_range(5000)
    assert package.after(1003, 1004) == [(0, Fault.RANGE_CHANGED), (1, None)]


def test_a_restart_costs_the_time_up_to_the_reading_after_it(tmp_path: Path) -> None:
    package = Package(tmp_path, 500.0)
    assert package.after(500, 501) == [(0, None), (1, None)]
    assert package.after(0, 2, 3) == [(1, Fault.COUNTER_RESET), (3, None), (4, None)]
    assert package.read().unmetered == pytest.approx(0.1)


def test_after_a_restart_and_a_pause_the_lesser_explanation_is_taken(tmp_path: Path) -> None:
    """A package that draws 1000 W might have wrapped in the pause."""
    package = Package(tmp_path, 600.0)
    assert package.after(600, 0) == [(0, None), (0, Fault.COUNTER_RESET)]
    package.show(2)
    reading = package.read(seconds=0.8)
    assert (reading.joules, reading.fault) == (2, None)
    assert reading.unmetered == pytest.approx(0.1)


def test_one_wild_value_costs_nothing(tmp_path: Path) -> None:
    package = Package(tmp_path, 500.0)
    package.after(500)
    assert package.after(900, 502) == [(0, Fault.IMPLAUSIBLE), (2, None)]
    assert package.after(0, 504) == [(2, Fault.COUNTER_RESET), (4, None)]
    assert package.after(900, 900, 506) == [(4, Fault.IMPLAUSIBLE)] * 2 + [(6, None)]
    assert package.read().unmetered == 0


def test_a_counter_that_stands_still_is_stuck_after_ten_seconds(tmp_path: Path) -> None:
    package = Package(tmp_path, 5.0, range_joules=262_143.0)
    package.after(5)
    assert package.read(seconds=9.5).fault is None
    reading = package.read(seconds=1)
    assert (reading.fault, reading.joules) == (Fault.STUCK, 0)
    assert reading.unmetered == pytest.approx(1)
    assert package.after(60) == [(55, None)]  # it had counted on
    assert package.read().unmetered == 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.NOT_A_NUMBER),
        ("nan", Fault.NOT_A_NUMBER),
        ("inf", Fault.NOT_A_NUMBER),
        ("12 34", Fault.NOT_A_NUMBER),
        ("0x10", Fault.NOT_A_NUMBER),
        ("\x00\xff\xfe", Fault.NOT_A_NUMBER),
        ("٣", Fault.NOT_A_NUMBER),
        ("9" * 100, Fault.NOT_A_NUMBER),
        ("9" * 40, Fault.IMPLAUSIBLE),
        ("18446744073709551615", Fault.IMPLAUSIBLE),
        ("-1", Fault.NEGATIVE),
    ],
)
def test_what_is_no_count_has_a_name(tmp_path: Path, text: str, fault: Fault) -> None:
    package = Package(tmp_path, 5.0)
    assert package.after(text)[0] == (None, fault)  # at the start
    assert package.after(5, 6, text, 8) == [(0, None), (1, None), (1, fault), (3, None)]


def test_a_counter_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    package = Package(tmp_path, 5.0)
    package.after(5)
    board = package.board
    board.remove(ENERGY)
    reading = package.read()
    assert (reading.fault, reading.joules) == (Fault.MISSING, 0) and ENERGY in reading.detail
    assert reading.unmetered == pytest.approx(0.1)
    assert package.after(7) == [(2, None)]
    board.remove(ZONE)
    assert package.read().fault is Fault.MISSING
    board.write(boards.rapl_zone("intel-rapl:0", "package-0", 9.0, round(RANGE_J * 1e6)))
    board.unreadable(ENERGY)
    assert package.read().fault is Fault.READ_FAILED
    assert package.after(10) == [(5, None)]
    board.denied = {ENERGY}
    assert package.read().fault is Fault.NO_PERMISSION
    board.denied = set()
    assert package.after(11) == [(6, None)]


def test_a_clock_that_goes_back_is_not_followed(tmp_path: Path) -> None:
    package = Package(tmp_path, 5.0)
    package.after(5, 6)
    package.show(7)
    assert package.read(seconds=-1).fault is Fault.CLOCK
    reading = package.read(seconds=1.5)
    assert reading.fault is None and reading.joules == pytest.approx(2)


def test_of_several_counters_one_alone_does_not_move_the_sum(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.two_sockets())
    meter = find(board.files, board.clock)[0]
    assert meter.read().joules == 0
    board.remove(f"{POWERCAP}/intel-rapl:1/energy_uj")
    board.write(boards.rapl_zone("intel-rapl:0", "package-0", 104, 65_532_610_987))
    board.clock.now += 1
    reading = meter.read()
    assert (reading.fault, reading.joules, reading.unmetered) == (Fault.MISSING, 0, 1)
    board.write(boards.rapl_zone("intel-rapl:1", "package-1", 208, 65_532_610_987))
    board.clock.now += 1
    reading = meter.read()
    assert reading.fault is None and reading.joules == pytest.approx(12)
    assert reading.watts == pytest.approx(6) and reading.unmetered == 0


EVENTS = (
    "good", "good", "good", "denied", "missing", "unreadable", "empty", "garbage", "negative",
    "huge", "wild", "zero", "stuck", "restart", "no range", "bad range", "other range", "late",
)  # fmt: skip
FAILING = {"denied", "missing", "unreadable", "empty", "garbage", "negative", "huge"}
SERVER_J = 65_532.0
MOST_WATTS = 200.0


@settings(max_examples=40)
@given(
    st.one_of(st.floats(0, SERVER_J - 1), st.floats(SERVER_J - 50, SERVER_J - 1)),
    st.lists(
        st.tuples(st.sampled_from(EVENTS), st.floats(0.02, 0.4), st.floats(1.0, MOST_WATTS)),
        min_size=5,
        max_size=25,
    ),
)
def test_whatever_happens_in_whatever_order(
    start: float, steps: list[tuple[str, float, float]]
) -> None:
    """Against the energy that was really drawn: nothing is added to it, and what is missing of it
    was drawn in time that the meter says it did not see.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Package(Path(folder), start, SERVER_J)
        package.meter.read()
        drawn, offset, counter_range, before = 0.0, start, SERVER_J, 0.0
        unseen = 0.0  # drawn since the counter showed it
        stale = 0.0  # drawn while it stood still: that a value was old when it was read nobody sees
        plausible = 0.0  # what it may have counted since, for all that the meter knows
        for event, seconds, watts in [*steps, ("good", 0.1, 10.0), ("good", 0.1, 10.0)]:
            seconds += 70 if event == "late" else 0  # longer than a package may need for a wrap
            drawn += watts * seconds
            unseen += watts * seconds
            stale += watts * seconds * (event == "stuck")
            plausible += 1000 * (seconds + 0.05)
            value = (offset + drawn) % counter_range
            if event in ("wild", "zero", "restart"):
                # What looks like a wrap or like work cannot be told from it.
                shown = (value + counter_range / 2) % counter_range if event == "wild" else 0.0
                is_like_work = (shown - value + unseen) % counter_range <= plausible
                if is_like_work or value < 20_000:  # or may soon be where it was before
                    event = "good"
                elif event == "restart":
                    offset, value = -drawn, 0.0
            if event == "other range" and value < 60_000:
                counter_range = 60_000.0 if counter_range == SERVER_J else SERVER_J
                offset = value - drawn
            package.show_range({"no range": "", "bad range": "-1"}.get(event, counter_range))
            if event != "stuck":
                instead: dict[str, float | str] = {
                    "empty": "", "garbage": "NaN", "negative": "-7", "huge": "9" * 30,
                    "wild": (value + counter_range / 2) % counter_range, "zero": 0.0,
                }  # fmt: skip
                package.show(instead.get(event, value))
            package.board.denied = {ENERGY} if event == "denied" else set()
            if event == "missing":
                package.board.remove(ENERGY)
            elif event == "unreadable":
                package.board.unreadable(ENERGY)
            reading = package.read(seconds)
            assert reading.fault is None or isinstance(reading.fault, Fault)
            if event in FAILING:
                assert reading.fault is not None and reading.watts is None and reading.detail
            assert reading.joules is not None and before <= reading.joules
            assert reading.watts is None or 0 <= reading.watts < math.inf
            before = reading.joules
            assert reading.joules <= drawn + 1e-3  # whole microjoules
            known = drawn - unseen - stale
            assert known - reading.joules <= MOST_WATTS * reading.unmetered + 1e-3
            if reading.fault is None and event != "stuck":
                unseen = plausible = 0.0
        assert reading.fault is None  # two good readings and it is well again
