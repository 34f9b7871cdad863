"""What power sensors do: every kind of file, and everything that it may show instead."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.power.discover import find_meters
from edgeinfer.power.faults import Fault, SensorFault
from edgeinfer.power.gauge import GaugeMeter
from edgeinfer.power.reading import Reading
from tests.power import boards
from tests.power.boards import POWERCAP, Board, Clock
from tests.system.recorded import Tree

MODULE = f"{boards.I2C}/ina3221/1-0040/hwmon/hwmon1"
NANO = f"{boards.I2C}/ina3221x/6-0040/iio:device0"
THOR = f"{boards.I2C}/ina238/2-0044/hwmon/hwmon5"
BATTERY = "sys/class/power_supply/BAT0"

# Name of the meter, its board, the file that goes wrong, and its text for so many watts.
KINDS: dict[str, tuple[str, Callable[[], Tree], str, Callable[[float], str]]] = {
    "ina3221": ("ina3221 VDD_IN", boards.orin_nano, f"{MODULE}/curr1_input",
                lambda watts: str(round(watts / 4.968 * 1e3))),
    "iio": ("ina3221 POM_5V_IN", boards.jetson_nano, f"{NANO}/in_power0_input",
            lambda watts: str(round(watts * 1e3))),
    "ina238": ("ina238 2-0044", boards.thor, f"{THOR}/power1_input",
               lambda watts: str(round(watts * 1e6))),
    "hwmon": ("hwmon power_meter power1", boards.hwmon_machine,
              "sys/class/hwmon/hwmon0/power1_average", lambda watts: str(round(watts * 1e6))),
    "battery": ("battery", lambda: {p: t for p, t in boards.laptop().items() if "BAT1" not in p},
                f"{BATTERY}/power_now", lambda watts: str(round(watts * 1e6))),
    "dtpm": ("dtpm 0 rk3399", boards.dtpm_board, f"{POWERCAP}/dtpm:0/power_uw",
             lambda watts: str(round(watts * 1e6))),
    "pmic": ("pmic", lambda: {**boards.pi_5(), "adc": ""}, "adc",
             lambda watts: f"X_A current(0)={watts:.8f}A\nX_V volt(1)=1.00000000V"),
}  # fmt: skip
FILES = [kind for kind in KINDS if kind != "pmic"]  # whose texts are one number


class Sensor:
    """A power sensor of some kind and its meter."""

    def __init__(self, root: Path, kind: str) -> None:
        name, tree, self.path, self.text = KINDS[kind]
        self.board = Board(root, tree())
        found = find_meters(
            files=self.board.files,
            clock=self.board.clock,
            ask_pmic=lambda: self.board.files.text("adc"),
        )
        (self.meter,) = [meter for meter in found if meter.name == name]

    def read(self, shown: float | str | None, seconds: float = 0.1) -> Reading:
        """A reading `seconds` after the one before; None leaves the file as it is."""
        if shown is not None:
            self.board.write({self.path: shown if isinstance(shown, str) else self.text(shown)})
        self.board.clock.now += seconds
        return self.meter.read()


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_names_what_is_wrong_and_goes_on(kind: str, tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, kind)
    board = sensor.board
    sign = Fault.NEGATIVE if kind != "battery" else None  # whose drivers disagree about the sign
    sensor.read(4.0)
    for text, fault in [
        ("", Fault.NOT_A_NUMBER), ("nan", Fault.NOT_A_NUMBER), ("-inf", Fault.NOT_A_NUMBER),
        ("1 2", Fault.NOT_A_NUMBER), ("\x00\x01", Fault.NOT_A_NUMBER),
        ("9" * 30, Fault.IMPLAUSIBLE), ("9" * 100, Fault.NOT_A_NUMBER), ("-5000", sign),
    ]:  # fmt: skip
        reading = sensor.read(text)
        assert reading.fault is fault, (text, reading.detail)
        assert (reading.watts is None) == (fault is not None)
        sensor.read(4.0)
    board.denied = {sensor.path}
    assert sensor.read(None).fault is Fault.NO_PERMISSION
    board.denied = set()
    board.unreadable(sensor.path)
    assert sensor.read(None).fault is Fault.READ_FAILED
    board.remove(sensor.path)
    reading = sensor.read(None)
    assert reading.fault is Fault.MISSING and reading.detail and reading.unmetered > 0
    board.remove(str(Path(sensor.path).parents[1]))  # the whole driver
    assert sensor.read(None).fault in (Fault.MISSING, Fault.NOT_DISCHARGING)
    board.write(KINDS[kind][1]())
    reading = sensor.read(4.0)
    assert reading.fault is None and reading.watts == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dtpm"])
def test_every_sensor_that_shows_the_same_for_too_long_is_stuck(kind: str, tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, kind)
    sensor.read(4.0)
    faults = {sensor.read(None, seconds=1.0).fault for _ in range(59)}
    assert faults == {None}
    faults = {sensor.read(None, seconds=1.0).fault for _ in range(600)}
    assert faults == {None, Fault.STUCK}
    reading = sensor.read(None, seconds=1.0)
    assert reading.fault is Fault.STUCK and "for" in reading.detail and reading.unmetered > 20
    assert sensor.read(4.1).fault is Fault.TOO_LATE  # it moves again: but what was in between?
    assert sensor.read(4.2).fault is None


def test_energy_is_the_area_under_the_readings(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, "iio")
    assert sensor.read(2.0).joules == 0
    assert sensor.read(4.0, seconds=0.5).joules == pytest.approx(1.5)
    assert sensor.read(4.0, seconds=1.0).joules == pytest.approx(5.5)
    reading = sensor.read(3.0, seconds=2.5)  # nobody looked for longer than a guess is good for
    assert reading.fault is Fault.TOO_LATE
    assert reading.joules == pytest.approx(5.5) and reading.unmetered == pytest.approx(2.5)
    reading = sensor.read(5.0)
    assert reading.joules == pytest.approx(5.9) and reading.watts == 5.0
    assert sensor.read(5.0, seconds=-0.05).fault is Fault.CLOCK


def test_a_sum_of_rails_hides_no_bad_one(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.agx_orin())
    (meter,) = [m for m in find_meters(files=board.files) if m.name == "ina3221 sum"]
    rail = f"{boards.I2C}/ina3221/1-0041/hwmon/hwmon4/curr2_input"
    assert meter.read().fault is None
    board.write({rail: "-3\n"})
    assert meter.read().fault is Fault.NEGATIVE
    board.remove(rail)
    assert meter.read().fault is Fault.MISSING


def test_a_value_that_is_no_number_at_all() -> None:
    meter = GaugeMeter(
        "x", "hwmon", "part", "x", lambda: (float("nan"), None), clock=Clock(), max_watts=10,
        stuck_after=60,
    )  # fmt: skip
    assert meter.read().fault is Fault.NOT_A_NUMBER


EVENTS: dict[str, float | str | Fault] = {
    "none": "", "garbage": "?", "negative": "-9000", "huge": "9" * 25,
    "denied": Fault.NO_PERMISSION, "gone": Fault.MISSING, "off": Fault.READ_FAILED,
}  # fmt: skip


@settings(max_examples=30)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(
        st.tuples(
            st.sampled_from([*EVENTS, *["good"] * 6, "same", "late"]),
            st.floats(0.02, 0.5),
            st.floats(1.0, 20.0),
        ),
        min_size=3,
        max_size=20,
    ),
)
def test_whatever_happens_in_whatever_order(
    kind: str, steps: list[tuple[str, float, float]]
) -> None:
    """Joules never fall, and the mean over the metered time lies within what was shown."""
    with tempfile.TemporaryDirectory() as folder:
        sensor = Sensor(Path(folder), kind)
        first = sensor.read(10.0)
        start, before, low, high = first.time, 0.0, 10.0, 10.0
        for event, seconds, watts in [*steps, ("good", 0.1, 5.0), ("good", 0.1, 5.0)]:
            shown = EVENTS.get(event, None if event == "same" else watts)
            board = sensor.board
            board.denied = {sensor.path} if shown is Fault.NO_PERMISSION else set()
            if shown is Fault.MISSING:
                board.remove(sensor.path)
            elif shown is Fault.READ_FAILED:
                board.unreadable(sensor.path)
            elif isinstance(shown, float):
                low, high = min(low, shown), max(high, shown)
            elif (kind, event) == ("battery", "negative"):
                low = 0.009
            reading = sensor.read(
                None if isinstance(shown, Fault) else shown,
                seconds * (200 if event == "late" else 1),
            )
            if event in EVENTS and (kind, event) != ("battery", "negative"):
                assert isinstance(reading.fault, Fault) and reading.detail
            assert reading.joules is not None and reading.joules >= before
            before = reading.joules
            metered = reading.time - start - reading.unmetered
            slack = 0.01 * metered + 1e-9
            assert low * metered - slack <= reading.joules <= high * metered + slack
        assert reading.fault is None


def test_no_fault_is_without_a_name_and_advice() -> None:
    names = [str(fault) for fault in Fault]
    assert len(set(names)) == len(names) and len({fault.value for fault in Fault}) == len(names)
    for fault in Fault:
        assert fault.meaning[0].islower() and not fault.meaning.endswith(".") and fault.advice
    assert str(SensorFault(Fault.NEGATIVE, "-1 W")) == "negative: -1 W"
