"""Power: meters over the kernel's files, and what a run costs in joules.

>>> meter = edgeinfer.power.best_meter()
>>> with edgeinfer.power.MeterThread(meter) as thread:
...     model.run(x)
...     print(thread.total())

Standard library only. Nothing of it is imported, read or started until it is asked for.
docs/power.md says what each board can measure.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeinfer.power.constant_meter import ConstantMeter
    from edgeinfer.power.decisions import Decision, DecisionLog
    from edgeinfer.power.device_energy import PROFILES, profile_of_machine
    from edgeinfer.power.discover import best_meter, find_meters, why_unmetered
    from edgeinfer.power.energy_profile import DeviceEnergy
    from edgeinfer.power.faults import Fault
    from edgeinfer.power.governed import GovernedModel, RunReport
    from edgeinfer.power.governor import Governor
    from edgeinfer.power.meter import Energy, Meter, MeterLog, MeterThread
    from edgeinfer.power.model_meter import ModelMeter
    from edgeinfer.power.reading import Reading
    from edgeinfer.power.work import PowerBudget

_HOMES = {
    "ConstantMeter": "constant_meter",
    "Decision": "decisions",
    "DecisionLog": "decisions",
    "GovernedModel": "governed",
    "Governor": "governor",
    "PowerBudget": "work",
    "RunReport": "governed",
    "DeviceEnergy": "energy_profile",
    "Energy": "meter",
    "Fault": "faults",
    "Meter": "meter",
    "MeterLog": "meter",
    "MeterThread": "meter",
    "ModelMeter": "model_meter",
    "PROFILES": "device_energy",
    "Reading": "reading",
    "best_meter": "discover",
    "profile_of_machine": "device_energy",
    "find_meters": "discover",
    "why_unmetered": "discover",
}

__all__ = [
    "PROFILES",
    "ConstantMeter",
    "Decision",
    "DecisionLog",
    "DeviceEnergy",
    "Energy",
    "Fault",
    "GovernedModel",
    "Governor",
    "Meter",
    "MeterLog",
    "MeterThread",
    "ModelMeter",
    "PowerBudget",
    "Reading",
    "RunReport",
    "best_meter",
    "find_meters",
    "profile_of_machine",
    "why_unmetered",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"edgeinfer.power.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
