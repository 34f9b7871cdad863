"""What a device needs for work, in joules: a model for boards that cannot measure.

A run costs its multiplications, what its operators do for each byte of an activation (loading,
requantising, storing; depthwise convolutions and copies hardly multiply), setting up its steps, and
the way of bytes to the core by how far away they lie. Weights are read once a step; those of a
program whose weights all fit the last cache come from there, others from memory. Activations of a
step come from the nearest level that holds all of them. Beside that a board takes its idle power
all the time, run or not.

What the model leaves out (clocks, temperature, other programs, what hangs on the board) is in its
error. device_energy.py has the figures and their sources.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol


class Work(Protocol):
    """What is counted of a step; `edgeinfer.step_costs.StepCost` is one."""

    @property
    def macs(self) -> int:
        """Multiplications of convolutions and matrix products."""

    @property
    def bytes(self) -> int:
        """Of all operands, weights included."""

    @property
    def weight_bytes(self) -> int:
        """Of weights."""

    @property
    def is_float(self) -> bool:
        """Whether the multiplications are of float32."""


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
    byte_joules: float
    """Of what an operator does for each value of an activation that it reads or writes: for a byte
    of int8, for four of float32."""
    step_joules: float
    """Of setting up a step."""
    l1_byte_joules: float
    """Of fetching a byte, by where it lies."""
    l2_byte_joules: float
    dram_byte_joules: float
    l1_bytes: int
    """Of one core's data cache."""
    last_cache_bytes: int
    """Of the largest cache."""
    error: float
    """Relative standard error of what a run costs."""
    sources: tuple[str, ...] = field(default=(), repr=False)
    """Where the figures were published, or how they follow from some that were."""

    def of_steps(self, steps: Iterable[Work]) -> list[float]:
        """Joules of each step of one run, idle power not included."""
        listed = list(steps)
        weights_fit = sum(step.weight_bytes for step in listed) <= self.last_cache_bytes
        per_weight = self.l2_byte_joules if weights_fit else self.dram_byte_joules
        return [self._of_step(step, per_weight) for step in listed]

    def of_run(self, steps: Iterable[Work]) -> float:
        """Joules of one run, idle power not included."""
        return sum(self.of_steps(steps))

    def _of_step(self, step: Work, per_weight: float) -> float:
        if step.bytes <= self.l1_bytes:
            fetched = self.l1_byte_joules
        elif step.bytes <= self.last_cache_bytes:
            fetched = self.l2_byte_joules
        else:
            fetched = self.dram_byte_joules
        per_mac = self.float_mac_joules if step.is_float else self.mac_joules
        moved = step.bytes - step.weight_bytes
        values = moved / 4 if step.is_float else moved
        return (
            self.step_joules
            + step.macs * per_mac
            + values * self.byte_joules
            + moved * fetched
            + step.weight_bytes * per_weight
        )
