"""Batteries: what the device draws from them, while it does.

Only batteries that feed the system count, not those of a mouse. On the charger a battery tells how
it is charged, not what the device needs. `power_now` is in µW; where there is none, `current_now`
in µA and `voltage_now` in µV. Drivers disagree about the sign of a discharge: the amount is taken.
Fuel gauges average over seconds, and many show a new value once a minute.
Source: kernel documentation, ABI sysfs-class-power.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.power.faults import Fault, SensorFault
from edgeinfer.power.gauge import GaugeMeter
from edgeinfer.power.sensor_files import SensorFiles

_SUPPLIES = "sys/class/power_supply"
_MAX_WATTS = 500.0
_STUCK_SECONDS = 600.0


def find(files: SensorFiles, clock: Callable[[], float]) -> list[GaugeMeter]:
    """A meter over all batteries together; none where there is no battery."""
    folders = _batteries(files)
    if not folders:
        return []
    names = " + ".join(folder.rpartition("/")[2] for folder in folders)
    return [
        GaugeMeter(
            "battery", "battery", "board",
            f"the whole device, as battery {names} feeds it; only while it is discharged",
            lambda: (_discharge_watts(files, folders), None),
            clock=clock, max_watts=_MAX_WATTS, stuck_after=_STUCK_SECONDS,
            interval=1.0, longest_interval=60.0,
        )
    ]  # fmt: skip


def _batteries(files: SensorFiles) -> list[str]:
    found = []
    for name in files.entries(_SUPPLIES):
        folder = f"{_SUPPLIES}/{name}"
        if files.text_or_none(f"{folder}/type") != "Battery":
            continue
        if files.text_or_none(f"{folder}/scope") == "Device":  # of a mouse, a headset
            continue
        if any(files.exists(f"{folder}/{file}") for file in ("power_now", "current_now")):
            found.append(folder)
    return found


def _discharge_watts(files: SensorFiles, folders: list[str]) -> float:
    states = [files.text(f"{folder}/status") for folder in folders]
    feeding = [f for f, state in zip(folders, states, strict=True) if state == "Discharging"]
    if not feeding or "Charging" in states:
        listed = ", ".join(
            f"{folder.rpartition('/')[2]}: {state[:20] or 'no status'}"
            for folder, state in zip(folders, states, strict=True)
        )
        raise SensorFault(Fault.NOT_DISCHARGING, listed)
    return sum(_watts(files, folder) for folder in feeding)


def _watts(files: SensorFiles, folder: str) -> float:
    if files.exists(f"{folder}/power_now"):
        return abs(files.number(f"{folder}/power_now")) * 1e-6
    amperes = abs(files.number(f"{folder}/current_now")) * 1e-6
    return amperes * files.natural(f"{folder}/voltage_now") * 1e-6
