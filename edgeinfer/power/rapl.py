"""RAPL: the energy counters of x86 processors, by the kernel's powercap files.

Zones are found by name. `package-N` (with several dies `package-N-die-M`) is a whole processor; its
`core` and `uncore` are parts of it, its `dram` is beside it: the memory that hangs on it. `psys` is
the platform, as far as its maker wired and calibrated it. The same package may be there once more
by way of memory-mapped registers (`intel-rapl-mmio`), which is not counted again. AMD's processors
use the same files, without `dram` and `psys`.

Since 2020 only root may read the counters, because they tell what a neighbour computes
(CVE-2020-8694). Source: kernel documentation, "Power Capping Framework".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgeinfer.power.counter import CounterMeter, CounterTrack
from edgeinfer.power.reading import Scope
from edgeinfer.power.sensor_files import SensorFiles

_POWERCAP = "sys/class/powercap"
_MAX_WATTS = 1000.0  # of a package: the largest are made for 500 W, and exceed that shortly
_STUCK_SECONDS = 10.0  # a package counts some 100 mW even when it sleeps
_STEP_JOULES = 2.0**-14  # 61 µJ, the unit of most; servers' memory has a finer one


@dataclass(frozen=True)
class _Zone:
    folder: str
    name: str
    parent: str | None


def find(files: SensorFiles, clock: Callable[[], float]) -> list[CounterMeter]:
    """Meters of the packages with their memory, of the platform, and of parts of packages."""
    zones = _zones(files, "intel-rapl") or _zones(files, "intel-rapl-mmio")
    packages = [z for z in zones if z.parent is None and z.name.startswith("package")]
    memory = [z for z in zones if z.parent is not None and z.name == "dram"]
    platform = [z for z in zones if z.parent is None and z.name == "psys"]
    meters = []
    if packages:
        count = f"{len(packages)} processor packages" if len(packages) > 1 else "processor package"
        extra = " and the memory on it" if memory else "; memory is not included"
        covers = f"{count}{extra}; nothing else of the board"
        meters.append(_meter(files, clock, "rapl package", "chip", covers, packages + memory))
    for zone in platform:
        covers = "the platform, as far as its maker wired and calibrated it"
        meters.append(_meter(files, clock, "rapl psys", "board", covers, [zone]))
    for zone in zones:
        if zone.parent is None or not any(zone.parent == package.folder for package in packages):
            continue
        owner = next(package.name for package in packages if package.folder == zone.parent)
        covers = f"{_PARTS.get(zone.name, zone.name)} of {owner}"
        meters.append(_meter(files, clock, f"rapl {owner} {zone.name}", "part", covers, [zone]))
    return meters


_PARTS = {"core": "the cores", "uncore": "the graphics unit", "dram": "the memory"}


def _zones(files: SensorFiles, control: str) -> list[_Zone]:
    """Zones of a control type, without their repetition below it, the packages first."""
    found = []
    for entry in files.entries(_POWERCAP):
        match = re.fullmatch(rf"{control}:([0-9]+)(:[0-9]+)?", entry)
        folder = f"{_POWERCAP}/{entry}"
        name = files.text_or_none(f"{folder}/name") if match else None
        if match and name and files.exists(f"{folder}/energy_uj"):
            parent = f"{_POWERCAP}/{control}:{match[1]}" if match[2] else None
            found.append(_Zone(folder, name, parent))
    names = set()
    distinct = []
    for zone in found:  # some kernels list a package twice; a counter must not be added to itself
        if (zone.name, zone.parent) not in names:
            names.add((zone.name, zone.parent))
            distinct.append(zone)
    return sorted(distinct, key=lambda zone: zone.parent is not None)


def _meter(
    files: SensorFiles,
    clock: Callable[[], float],
    name: str,
    scope: Scope,
    covers: str,
    zones: list[_Zone],
) -> CounterMeter:
    tracks = [
        CounterTrack(
            partial(_joules, files, f"{zone.folder}/energy_uj"),
            partial(_joules, files, f"{zone.folder}/max_energy_range_uj"),
            max_watts=_MAX_WATTS,
            stuck_after=_STUCK_SECONDS,
        )
        for zone in zones
    ]
    resolution = _STEP_JOULES * len(tracks)
    return CounterMeter(name, "rapl", scope, covers, tracks, clock=clock, resolution=resolution)


def _joules(files: SensorFiles, path: str) -> float:
    return files.number(path) * 1e-6
