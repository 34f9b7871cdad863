"""Power and energy sensors of any driver: hwmon's `power*_input` (µW) and `energy*_input` (µJ).

A sensor is known by the name of its driver and its label; what it hangs on is the board's affair,
unless the driver says. `power*_average` stands in where there is no `_input` (ACPI power meters,
older graphics drivers). hwmon tells no range of its energy counters, so the time of a wrap is lost.
Source: kernel documentation, "Naming and data format standards for sysfs files" of hwmon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from edgeinfer.power.counter import CounterMeter, CounterTrack
from edgeinfer.power.faults import Fault, SensorFault
from edgeinfer.power.gauge import GaugeMeter
from edgeinfer.power.reading import Scope
from edgeinfer.power.sensor_files import SensorFiles

_HWMON = "sys/class/hwmon"
_MAX_WATTS = 2000.0
_STUCK_SECONDS = 120.0
_COUNTER_STUCK_SECONDS = 60.0

# Drivers that say what they measure; of others only that it is something of the board.
_KNOWN: dict[str, tuple[Scope, str]] = {
    "power_meter": ("board", "the machine, as its firmware's power meter shows it"),
    "acpi_power_meter": ("board", "the machine, as its firmware's power meter shows it"),
    "fam15h_power": ("chip", "the processor package"),
    "amdgpu": ("part", "the graphics chip"),
    "i915": ("part", "the graphics card"),
    "xe": ("part", "the graphics card"),
    "nouveau": ("part", "the graphics card"),
    "amd_energy": ("part", "a core or socket of the processor"),
}


@dataclass(frozen=True)
class _Sensor:
    driver: str
    kind: str  # power or energy
    channel: int
    label: str | None
    suffix: str  # input or average
    place: int  # among sensors that are alike


def find(
    files: SensorFiles, clock: Callable[[], float], *, without: Collection[str] = ()
) -> list[CounterMeter | GaugeMeter]:
    """Meters of all sensors, but those of the drivers `without`, which have meters of their own."""
    meters: list[CounterMeter | GaugeMeter] = []
    for sensor, path in _sensors(files):
        if sensor.driver in without:
            continue
        label = sensor.label or f"{sensor.kind}{sensor.channel}"
        name = f"hwmon {sensor.driver} {label}"
        scope, what = _KNOWN.get(
            sensor.driver, ("part", "whatever the board's maker put behind it")
        )
        covers = f"{what}: sensor {label} of {sensor.driver}"
        reader = _Reader(files, sensor, path)
        if sensor.kind == "power":
            meters.append(
                GaugeMeter(
                    name, "hwmon", scope, covers, reader.watts,
                    clock=clock, max_watts=_MAX_WATTS, stuck_after=_STUCK_SECONDS,
                )
            )  # fmt: skip
        else:
            track = CounterTrack(
                reader.value, None, max_watts=_MAX_WATTS, stuck_after=_COUNTER_STUCK_SECONDS
            )
            meters.append(
                CounterMeter(name, "hwmon", scope, covers, [track], clock=clock, resolution=None)
            )
    return meters


def _sensors(files: SensorFiles) -> list[tuple[_Sensor, str]]:
    """All sensors with the paths of their values at present."""
    found = []
    alike: dict[tuple[str, str, int, str | None], int] = {}
    for entry in files.entries(_HWMON):
        folder = f"{_HWMON}/{entry}"
        driver = files.text_or_none(f"{folder}/name") if entry.startswith("hwmon") else None
        if driver is None:
            continue
        inside = files.entries(folder)
        for name in inside:
            match = re.fullmatch(r"(power|energy)([0-9]{1,4})_(input|average)", name)
            if not match or (match[3] == "average" and f"power{match[2]}_input" in inside):
                continue
            channel = int(match[2])
            label = files.text_or_none(f"{folder}/{match[1]}{channel}_label")
            key = driver, match[1], channel, label
            place = alike[key] = alike.get(key, -1) + 1
            sensor = _Sensor(driver, match[1], channel, label, match[3], place)
            found.append((sensor, f"{folder}/{name}"))
    return found


class _Reader:
    """Reads one sensor, wherever its folder is by now: numbers change when drivers are reloaded."""

    def __init__(self, files: SensorFiles, sensor: _Sensor, path: str) -> None:
        self._files = files
        self._sensor = sensor
        self._path = path

    def value(self) -> float:
        """In watts or joules."""
        if self._is_there():
            return self._files.number(self._path) * 1e-6
        for sensor, path in _sensors(self._files):
            if sensor == self._sensor:
                self._path = path
                return self._files.number(path) * 1e-6
        sensor = self._sensor
        raise SensorFault(
            Fault.MISSING, f"{sensor.driver} has no {sensor.kind}{sensor.channel} at present"
        )

    def watts(self) -> tuple[float, None]:
        """What a power sensor shows; its smallest step is not known."""
        return self.value(), None

    def _is_there(self) -> bool:
        folder, _, _ = self._path.rpartition("/")
        same = self._files.text_or_none(f"{folder}/name") == self._sensor.driver
        return same and self._files.exists(self._path)
