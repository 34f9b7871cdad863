"""Temperatures and what is done about them: thermal zones, sensors, cooling devices."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.system.kernel_files import KernelFiles

_THERMAL = "sys/class/thermal"
_HWMON = "sys/class/hwmon"

# Sensors of CPUs that have no thermal zone on many PCs. Those of ARM boards have one.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower")

# Beyond these it is no temperature of a machine that runs: drivers give -256 or -274 degrees for a
# sensor that is off, 0 for a trip point that is not set, and 256 for one that is never reached.
_COLDEST, _HOTTEST = -55_000, 200_000


@dataclass(frozen=True)
class TripPoint:
    """A temperature at which the kernel acts."""

    kind: str
    """"passive" slows things down, "active" starts a fan, "hot" tells, "critical" powers off."""
    celsius: float


@dataclass(frozen=True)
class ThermalZone:
    """A part of the machine whose temperature the kernel watches."""

    number: int
    name: str | None
    celsius: float | None
    trips: tuple[TripPoint, ...]

    @property
    def passive_celsius(self) -> float | None:
        """Where the kernel slows things down; of several such points the last.

        The lower ones of a zone only tell it to watch more often, in the governors that boards use.
        """
        return max((t.celsius for t in self.trips if t.kind == "passive"), default=None)


@dataclass(frozen=True)
class Sensor:
    """A temperature sensor of a CPU that is no thermal zone."""

    name: str
    celsius: float | None
    max_celsius: float | None
    critical_celsius: float | None


@dataclass(frozen=True)
class CoolingDevice:
    """What the kernel cools with: a fan, or a part that it makes do less."""

    number: int
    name: str | None
    state: int | None
    """0 is off, `max_state` as much as it can."""
    max_state: int | None

    @property
    def slows_the_cpu(self) -> bool:
        """Whether CPUs run slower while it is on."""
        name = (self.name or "").lower()
        if "fan" in name:
            return False
        return any(part in name for part in ("cpu", "processor", "powerclamp", "thermal-idle"))

    @property
    def is_on(self) -> bool:
        """Whether it cools now."""
        return self.state is not None and self.state > 0  # powerclamp says -1 when it is off


def read_zones(files: KernelFiles) -> tuple[ThermalZone, ...]:
    """All thermal zones."""
    zones = []
    for number, path in files.numbered(_THERMAL, "thermal_zone"):
        trips = []
        for index in range(64):
            kind = files.text(f"{path}/trip_point_{index}_type")
            if kind is None:
                break
            celsius = _celsius(files, f"{path}/trip_point_{index}_temp")
            if celsius is not None and celsius > 0:
                trips.append(TripPoint(kind, celsius))
        zones.append(
            ThermalZone(
                number, files.text(f"{path}/type"), zone_celsius(files, number), tuple(trips)
            )
        )
    return tuple(zones)


def zone_celsius(files: KernelFiles, number: int) -> float | None:
    """Only the temperature of a zone."""
    return _celsius(files, f"{_THERMAL}/thermal_zone{number}/temp")


def read_sensors(files: KernelFiles) -> tuple[Sensor, ...]:
    """Sensors of the CPU among those that hwmon knows."""
    found = []
    for _, path in files.numbered(_HWMON, "hwmon"):
        device = files.text(f"{path}/name")
        if device not in _CPU_SENSORS:
            continue
        for index in range(1, 130):
            label = files.text(f"{path}/temp{index}_label")
            celsius = _celsius(files, f"{path}/temp{index}_input")
            if label is None and celsius is None:
                continue  # numbers of cores have gaps
            found.append(
                Sensor(
                    f"{device} {label or f'temp{index}'}",
                    celsius,
                    _celsius(files, f"{path}/temp{index}_max"),
                    _celsius(files, f"{path}/temp{index}_crit"),
                )
            )
    return tuple(found)


def read_cooling_devices(files: KernelFiles) -> tuple[CoolingDevice, ...]:
    """All cooling devices."""
    return tuple(
        CoolingDevice(
            number,
            files.text(f"{path}/type"),
            files.number(f"{path}/cur_state"),
            files.natural(f"{path}/max_state"),
        )
        for number, path in files.numbered(_THERMAL, "cooling_device")
    )


def _celsius(files: KernelFiles, path: str) -> float | None:
    number = files.number(path)
    return number / 1000 if number is not None and _COLDEST <= number <= _HOTTEST else None
