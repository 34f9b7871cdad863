"""What a device needs for work, in joules: a model for boards that cannot measure.

A run of a program costs its multiplications, and the bytes that its steps read and write, by how
far from the core they lie. Weights are read once a step; those of a program whose weights all fit
the last cache come from there, others from memory. Activations of a step come from the nearest
level that holds all of them. Beside that a board takes its idle power all the time, run or not.

What the model leaves out (clocks, temperature, other programs, what hangs on the board) is in its
error. device_energy.py has the figures and their sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Work(Protocol):
    """What is counted of a step; `edgeinfer.step_costs.StepCost` is one."""

    @property
    def macs(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def is_float(self) -> bool: ...


@dataclass(frozen=True)
class DeviceEnergy:
    """One device's figures."""

    name: str
    idle_watts: float
    """What the board takes when nothing runs."""
    mac_joules: float
    """Of one int8 multiplication with its addition, operands in the nearest cache."""
    float_mac_joules: float
    """Of one float32 multiplication with its addition."""
    l1_byte_joules: float
    """Of a byte beyond those that the multiplications' own loads fetch, by where it lies."""
    l2_byte_joules: float
    dram_byte_joules: float
    l1_bytes: int
    """Of one core's data cache."""
    last_cache_bytes: int
    """Of the largest cache."""
    error: float
    """Relative standard error of what a run costs."""
    sources: tuple[str, ...] = field(default=(), repr=False)
    """Where each figure was published, or how it follows from one that was."""

    def of_steps(self, steps: Iterable[Work]) -> list[float]:
        """Joules of each step of one run, idle power not included."""
        listed: Sequence[Work] = list(steps)
        weights = sum(step.weight_bytes for step in listed)
        weight_joules = (
            self.l2_byte_joules if weights <= self.last_cache_bytes else self.dram_byte_joules
        )
        found = []
        for step in listed:
            moved = step.bytes - step.weight_bytes
            if step.bytes <= self.l1_bytes:
                moved_joules = self.l1_byte_joules
            elif step.bytes <= self.last_cache_bytes:
                moved_joules = self.l2_byte_joules
            else:
                moved_joules = self.dram_byte_joules
            mac_joules = self.float_mac_joules if step.is_float else self.mac_joules
            found.append(
                step.macs * mac_joules + step.weight_bytes * weight_joules + moved * moved_joules
            )
        return found

    def of_run(self, steps: Iterable[Work]) -> float:
        """Joules of one run, idle power not included."""
        return sum(self.of_steps(steps))
