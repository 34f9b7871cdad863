"""Joules of one inference, measured over many, and of its steps by the model's shares.

The energy of one run is far below what sensors resolve, so runs follow each other for a while and
are divided by their number; before that the machine is left idle for a while, to know what it takes
anyway. Both are cut into windows, whose scatter says how well the mean is known.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.printing import format_table, printable, shortened

if TYPE_CHECKING:
    from edgeinfer.cli.progress import Progress
    from edgeinfer.power.energy_profile import DeviceEnergy
    from edgeinfer.power.meter import Energy, Meter, MeterThread
    from edgeinfer.step_costs import StepCost

_IDLE_SECONDS = 2.0
_WINDOWS = 8
_READINGS_OF_A_WINDOW = 2  # at least, or neighbouring windows share their readings
_SHOWN_STEPS = 10


@dataclass(frozen=True)
class RunEnergy:
    """What a run costs, and how that is known."""

    meter: str
    energy: Energy
    """Of all runs together."""
    idle: Energy
    """Of the time before, in which nothing ran."""
    runs: int
    watts_error: float | None
    """Standard error of the power while running, by the scatter of its windows."""
    idle_watts_error: float | None
    profile: DeviceEnergy
    """By whose shares the steps' joules are reckoned."""
    steps: tuple[StepCost, ...]
    reason: str = ""
    """Why it is not measured."""

    @property
    def joules(self) -> float | None:
        """Of one run, the power that the machine takes anyway included."""
        watts = self.energy.watts
        return None if watts is None else watts * self.energy.seconds / self.runs

    @property
    def joules_above_idle(self) -> float | None:
        """Of one run, beyond what the machine takes without it."""
        busy, idle = self.energy.watts, self.idle.watts
        if busy is None or idle is None or self.energy.origin == "constant":
            return None
        return (busy - idle) * self.energy.seconds / self.runs

    @property
    def error(self) -> float | None:
        """Joules: the standard error of `joules`."""
        if self.energy.origin != "measured":
            joules, relative = self.joules, self.energy.error
            return None if joules is None or relative is None else joules * relative
        return self._joules_of(self.watts_error)

    @property
    def error_above_idle(self) -> float | None:
        """Joules: the standard error of `joules_above_idle`."""
        if self.energy.origin != "measured":
            joules, relative = self.joules_above_idle, self.energy.error
            return None if joules is None or relative is None else joules * relative
        if self.watts_error is None or self.idle_watts_error is None:
            return None
        return self._joules_of(math.hypot(self.watts_error, self.idle_watts_error))

    def step_rows(self) -> list[dict[str, Any]]:
        """Of each step its share of the modelled work, and of the joules above idle."""
        modelled = self.profile.of_steps(self.steps)
        total = sum(modelled) or 1.0
        measured = self.joules_above_idle
        known = measured is not None and measured > 0
        return [
            {
                "step": i,
                "node": step.node,
                "operator": step.operator,
                "share": joules / total,
                "joules": measured * joules / total if known and measured is not None else None,
            }
            for i, (step, joules) in enumerate(zip(self.steps, modelled, strict=True))
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "meter": self.meter,
            "origin": self.energy.origin,
            "source": self.energy.source,
            "covers": self.energy.covers,
            "runs": self.runs,
            "joules": self.joules,
            "error": self.error,
            "joules_above_idle": self.joules_above_idle,
            "error_above_idle": self.error_above_idle,
            "watts": self.energy.watts,
            "idle_watts": self.idle.watts,
            "unmetered_seconds": self.energy.unmetered,
            "faults": [str(f) for f in dict.fromkeys((*self.idle.faults, *self.energy.faults))],
            "profile": self.profile.name,
            "reason": self.reason or None,
            "steps": self.step_rows(),
        }

    def _joules_of(self, watts: float | None) -> float | None:
        return None if watts is None else watts * self.energy.seconds / self.runs


def measure_energy(
    call: Callable[[], None],
    steps: tuple[StepCost, ...],
    meter: Meter,
    profile: DeviceEnergy,
    seconds: float,
    progress: Progress,
) -> RunEnergy:
    """Leave the machine idle for a while, then run for so many seconds."""
    from edgeinfer.power.meter import MeterThread
    from edgeinfer.power.model_meter import ModelMeter

    shortest = _WINDOWS * _READINGS_OF_A_WINDOW * meter.interval
    add_run = None
    if isinstance(meter, ModelMeter):
        profile, add_run = meter.profile, meter.add_run
    joules = profile.of_run(steps)
    with MeterThread(meter) as thread:
        progress.stage("measuring idle power")
        t0 = thread.log.poll().time
        time.sleep(max(_IDLE_SECONDS, shortest))
        t1 = thread.log.poll().time  # a reading here: nothing of the runs is spread over idle time
        idle = thread.joules_between(t0, t1)
        progress.stage("measuring energy")
        runs = 0
        t2 = now = thread.log.poll().time
        while runs == 0 or now < t2 + max(seconds, shortest):
            call()
            runs += 1
            if add_run is not None:
                add_run(joules)
            now = meter.now()
        now = thread.log.poll().time
        energy = thread.joules_between(t2, now)
        return RunEnergy(
            meter.name, energy, idle, runs,
            _scatter(thread, t2, now), _scatter(thread, t0, t1), profile, steps,
        )  # fmt: skip


def _scatter(thread: MeterThread, start: float, end: float) -> float | None:
    """Standard error of the mean power over the windows of a stretch of time."""
    edges = [start + (end - start) * i / _WINDOWS for i in range(_WINDOWS + 1)]
    energies = [thread.joules_between(a, b) for a, b in pairwise(edges)]
    watts = [energy.watts for energy in energies if energy.watts is not None]
    if len(watts) < 2:
        return None
    return float(np.std(watts, ddof=1) / math.sqrt(len(watts)))


def energy_lines(found: RunEnergy) -> list[str]:
    """What is printed below the times."""
    lines = [f"  energy of a run, {found.energy.origin} by {printable(found.meter)}:"]
    if found.joules is None or found.idle.watts is None:
        lines.append("    unknown: " + _why(found))
    else:
        both = (
            ("with idle", found.joules, found.error),
            ("above idle", found.joules_above_idle, found.error_above_idle),
        )
        for name, joules, error in both:
            lines.append(f"    {name:<11}{_joules(joules):>12} {_error(error)}".rstrip())
        if found.joules_above_idle is not None:
            lines.append(
                f"    {found.energy.watts:.3g} W while running, {found.idle.watts:.3g} W at idle"
            )
        if found.energy.origin == "measured" and (found.joules_above_idle or 0) < 2 * (
            found.error_above_idle or 0
        ):
            lines.append("    hardly above idle: run for longer (--seconds) or leave other work")
    lines.append(f"    covers {found.energy.covers}")
    lines += [f"    {printable(found.reason)}"] if found.reason else []
    missed = found.energy.unmetered
    if missed > 0.01 * found.energy.seconds and found.joules is not None:
        lines.append(
            f"    {missed:.1f} s of {found.energy.seconds:.1f} s were not metered: {_why(found)}"
        )
    return lines


def energy_table(found: RunEnergy, *, everything: bool) -> str:
    """Joules of the steps, those that need most; or of all in their order."""
    rows = found.step_rows()
    shown = sorted(rows, key=lambda row: -row["share"])[:_SHOWN_STEPS]
    if everything:
        shown = rows
    cells = [
        [row["step"], shortened(row["node"], 40), row["operator"],
         _joules(row["joules"]), f"{100 * row['share']:.1f}"]
        for row in shown
    ]  # fmt: skip
    table = format_table(["step", "node", "operator", "above idle", "%"], cells, right=(0, 3, 4))
    rest = len(rows) - len(shown)
    left = 100 * (1 - sum(row["share"] for row in shown))
    more = f"; {rest} steps more have {left:.1f} %" if rest else ""
    return (
        f"{table}\n\nsteps by their share of the work that the model of {found.profile.name} "
        f"reckons, scaled to the run{more}"
    )


def _why(found: RunEnergy) -> str:
    faults = dict.fromkeys((*found.idle.faults, *found.energy.faults))
    listed = "; ".join(f"{fault}: {fault.meaning}; {fault.advice}" for fault in faults)
    return listed or "the meter gave no reading"


def _joules(value: float | None) -> str:
    if value is None:
        return "unknown"
    for factor, unit in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")):
        if abs(value) >= factor:
            return f"{value / factor:,.3g} {unit}"
    return f"{value * 1e9:,.3g} nJ"


def _error(value: float | None) -> str:
    return "" if value is None else f"± {_joules(value)}"
