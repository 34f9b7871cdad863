"""DTPM: what the kernel reckons that CPUs and other devices of an ARM system draw.

`/sys/class/powercap/dtpm:*/power_uw`. No sensor stands behind it: the kernel takes the power of
the present clock from a table of the board (the energy model) and multiplies it by the load. So
readings are marked `modelled`; how wrong the table is nobody tells. Zones without a parent have the
sum.
Source: kernel documentation, "Dynamic Thermal Power Management framework".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial

from edgeinfer.power.gauge import GaugeMeter
from edgeinfer.power.sensor_files import SensorFiles

_POWERCAP = "sys/class/powercap"
_MAX_WATTS = 300.0


def find(files: SensorFiles, clock: Callable[[], float]) -> list[GaugeMeter]:
    """A meter for each zone, those that are no part of another one first."""
    zones = []
    for entry in files.entries(_POWERCAP):
        path = f"{_POWERCAP}/{entry}/power_uw"
        if re.fullmatch(r"dtpm:[0-9]+(?::[0-9]+)*", entry) and files.exists(path):
            name = files.text_or_none(f"{_POWERCAP}/{entry}/name") or entry
            zones.append((entry.count(":") > 1, entry, name, path))
    return [
        GaugeMeter(
            f"dtpm {entry.removeprefix('dtpm:')} {name}", "dtpm", "part" if is_part else "chip",
            f"{name}, as the kernel's energy model of the board reckons it from clock and load",
            partial(_watts, files, path),
            clock=clock, max_watts=_MAX_WATTS, origin="modelled",
            stuck_after=math.inf,  # of an idle or fully loaded CPU the value stays the same
        )
        for is_part, entry, name, path in sorted(zones, key=lambda zone: zone[0])
    ]  # fmt: skip


def _watts(files: SensorFiles, path: str) -> tuple[float, None]:
    return files.number(path) * 1e-6, None
