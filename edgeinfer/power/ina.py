"""The current monitors of NVIDIA's Jetson boards: INA3221 and INA238.

They are found by their driver's folder and by the rails' labels; numbers of hwmon folders change
from boot to boot. Three layouts:

- `ina3221/*/hwmon/hwmon*`: `in{n}_label`, `in{n}_input` in mV, `curr{n}_input` in mA, n from 1 to
  3. What is numbered higher are voltages over the shunts, and their sum as "channel 7".
- `ina3221x/*/iio:device*` of JetPack 4: `rail_name_{n}`, `in_power{n}_input` in mW, n from 0 to 2.
- `ina238/*/hwmon/hwmon*` of newer boards: `power1_input` in µW.

A rail named VDD_IN or POM_5V_IN feeds the whole module. Boards without one (AGX) have a monitor on
each large rail: their sum is what is known. Labels with NC are connected to nothing.
Source: kernel documentation of ina3221 and ina238; Jetson Linux Developer Guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgeinfer.power.faults import Fault, SensorFault
from edgeinfer.power.gauge import GaugeMeter
from edgeinfer.power.reading import Scope
from edgeinfer.power.sensor_files import SensorFiles

_DRIVERS = "sys/bus/i2c/drivers"
_TOTALS = ("VDD_IN", "POM_5V_IN")
_SHUNT_STEP_VOLTS = 40e-6  # INA3221 datasheet: least significant bit of the shunt voltage
_MAX_WATTS = 300.0
_STUCK_SECONDS = 60.0
_SECONDS = 0.1  # and as much again for each rail: a register takes half a millisecond of I2C bus

Watts = tuple[float, float | None]


class _Chip:
    """A chip's files: below its device they are in whatever folder the kernel chose."""

    def __init__(self, files: SensorFiles, device: str, folder: str) -> None:
        self.files = files
        self.device = device
        self.folder = folder

    def number(self, name: str) -> int:
        """One of its values; the folder is looked for anew where it is no longer there."""
        try:
            return self.files.number(f"{self.folder}/{name}")
        except SensorFault as error:
            folder = _sensor_folder(self.files, self.device)
            if error.fault is not Fault.MISSING or folder in (None, self.folder):
                raise
            self.folder = str(folder)
        return self.files.number(f"{self.folder}/{name}")


@dataclass(frozen=True)
class _Rail:
    """One of a chip's channels."""

    label: str
    chip: _Chip
    channel: int
    is_iio: bool

    def watts(self) -> Watts:
        """Power now, and its smallest step."""
        if self.is_iio:
            return self.chip.number(f"in_power{self.channel}_input") * 1e-3, 1e-3
        volts = self.chip.number(f"in{self.channel}_input") * 1e-3
        amperes = self.chip.number(f"curr{self.channel}_input") * 1e-3
        return volts * amperes, None

    def step(self) -> float | None:
        """The smallest step in watts, by the shunt's resistance."""
        files, folder = self.chip.files, self.chip.folder
        micro_ohms = files.number_or_none(f"{folder}/shunt{self.channel}_resistor")
        millivolts = files.number_or_none(f"{folder}/in{self.channel}_input")
        if self.is_iio or not micro_ohms or not millivolts or micro_ohms < 0:
            return None
        return _SHUNT_STEP_VOLTS / (micro_ohms * 1e-6) * abs(millivolts) * 1e-3


def find(files: SensorFiles, clock: Callable[[], float]) -> list[GaugeMeter]:
    """Meters of the module as a whole and of each rail."""
    rails = _ina3221_rails(files)
    meters = [] if not rails else _ina3221_meters(clock, rails)
    return meters + _ina238_meters(files, clock)


def _ina3221_meters(clock: Callable[[], float], rails: list[_Rail]) -> list[GaugeMeter]:
    meters = []
    total = next((rail for rail in rails if rail.label in _TOTALS), None)
    if total is not None:
        covers = f"the module at its input, rail {total.label}; not the carrier board"
        meters.append(_meter(clock, total.label, "board", covers, [total]))
    elif len(rails) > 1:
        names = " + ".join(rail.label for rail in rails)
        covers = f"the sum of the module's rails {names}; not the carrier board"
        meters.append(_meter(clock, "sum", "board", covers, rails))
    for rail in rails:
        if rail is not total:
            covers = f"rail {rail.label} of the module"
            meters.append(_meter(clock, rail.label, "part", covers, [rail]))
    return meters


def _meter(
    clock: Callable[[], float],
    name: str,
    scope: Scope,
    covers: str,
    rails: list[_Rail],
) -> GaugeMeter:
    steps = [rail.step() for rail in rails]

    def read() -> Watts:
        found = [rail.watts() for rail in rails]
        for rail, (watts, _) in zip(rails, found, strict=True):
            if watts < 0:  # not hidden by the others' sum
                raise SensorFault(Fault.NEGATIVE, f"rail {rail.label}: {watts:.6g} W")
        known = [step or shown for step, (_, shown) in zip(steps, found, strict=True)]
        step = None if None in known else sum(s for s in known if s is not None)
        return sum(watts for watts, _ in found), step

    return GaugeMeter(
        f"ina3221 {name}", "ina3221", scope, covers, read,
        clock=clock, max_watts=_MAX_WATTS, stuck_after=_STUCK_SECONDS,
        interval=_SECONDS * (1 + len(rails)), longest_interval=2.0,
    )  # fmt: skip


def _ina3221_rails(files: SensorFiles) -> list[_Rail]:
    rails = []
    for driver in files.entries(_DRIVERS):
        if not driver.startswith("ina3221"):
            continue
        for device in _devices(files, f"{_DRIVERS}/{driver}"):
            folder = _sensor_folder(files, device)
            if folder is None:
                continue
            chip = _Chip(files, device, folder)
            is_iio = "/iio:device" in folder
            for channel in range(3) if is_iio else range(1, 4):
                name = f"rail_name_{channel}" if is_iio else f"in{channel}_label"
                label = files.text_or_none(f"{folder}/{name}")
                if label is not None and not re.search(r"(?:^|[^A-Z])NC(?:[^A-Z]|$)", label):
                    rails.append(_Rail(label, chip, channel, is_iio))
    return rails


def _ina238_meters(files: SensorFiles, clock: Callable[[], float]) -> list[GaugeMeter]:
    chips = [
        _Chip(files, device, folder)
        for device in _devices(files, f"{_DRIVERS}/ina238")
        if (folder := _sensor_folder(files, device)) and files.exists(f"{folder}/power1_input")
    ]
    meters = []
    for chip in chips:
        labels = (files.text_or_none(f"{chip.folder}/{name}") for name in ("power1_label", "label"))
        label = next((label for label in labels if label), None)
        name = label or chip.device.rpartition("/")[2]
        # One monitor alone sits at the input; of several the label has to say it.
        is_total = len(chips) == 1 or (label or "").upper().startswith(("VIN", "VDD_IN"))
        covers = f"the board's input, by monitor {name}" if is_total else f"monitor {name}"
        meters.append(
            GaugeMeter(
                f"ina238 {name}", "ina238", "board" if is_total else "part", covers,
                partial(_microwatts, chip),
                clock=clock, max_watts=_MAX_WATTS, stuck_after=_STUCK_SECONDS,
                interval=2 * _SECONDS,
            )
        )  # fmt: skip
    return meters


def _microwatts(chip: _Chip) -> Watts:
    return chip.number("power1_input") * 1e-6, None


def _devices(files: SensorFiles, driver: str) -> list[str]:
    """Chips of a driver: "1-0040" is bus 1, address 0x40."""
    names = files.entries(driver)
    return [f"{driver}/{name}" for name in names if re.fullmatch(r"[0-9]+-[0-9a-f]{4}", name)]


def _sensor_folder(files: SensorFiles, device: str) -> str | None:
    """The folder of a chip that has the values; its number may change while this runs."""
    for name in files.entries(f"{device}/hwmon"):
        if name.startswith("hwmon"):
            return f"{device}/hwmon/{name}"
    for name in files.entries(device):
        if name.startswith("iio:device"):
            return f"{device}/{name}"
    return None
