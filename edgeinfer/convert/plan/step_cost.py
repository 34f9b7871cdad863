"""What steps cost in time: a linear model, fitted to what a device was measured to take.

Multiplications are the same for every plan; what differs between plans is how many steps there are,
how often weights are read, and what passes through memory because it does not fit the cache. The
constant part is there so that a difference can be held against the whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeinfer.convert.plan.bands import Bands
from edgeinfer.convert.plan.lifetimes import activations
from edgeinfer.convert.plan.views import Layout
from edgeinfer.convert.program import Operation

PROFILES = Path(__file__).parent / "device_profiles"
TYPICAL_DEVICE = "zen1"
"""Whose costs are taken where no device is named (`device_profile`)."""

_TYPICAL = json.loads((PROFILES / f"{TYPICAL_DEVICE}.json").read_text("utf-8"))["step_costs"]


@dataclass(frozen=True)
class StepCosts:
    """Costs of one device, in nanoseconds; those of the typical one unless given.

    mac_ns : a multiplication. Counted as bytes of weights times output positions.
    byte_ns : reading or writing a byte of an activation, depthwise convolutions and requantising
        included.
    step_ns : setting up a step.
    weight_ns : reading a byte of weights, once for each step.
    memory_ns : a byte of a tensor that is written to memory and read from there again.
    cache_bytes : what a core keeps near, weights and other things aside.
    """

    mac_ns: float = _TYPICAL["mac_ns"]
    byte_ns: float = _TYPICAL["byte_ns"]
    step_ns: float = _TYPICAL["step_ns"]
    weight_ns: float = _TYPICAL["weight_ns"]
    memory_ns: float = _TYPICAL["memory_ns"]
    cache_bytes: int = _TYPICAL["cache_bytes"]

    def of_step(self, operation: Operation) -> float:
        """What each step costs, however many rows it has."""
        return self.step_ns + self.weight_ns * weight_bytes(operation)

    def of_rows(self, operation: Operation) -> float:
        """What all rows cost together, in however many steps."""
        positions = math.prod(operation.outputs[0].shape[:-1])
        macs = weight_bytes(operation) * positions
        return self.mac_ns * macs + self.byte_ns * moved_bytes(operation)

    def of_plan(self, layout: Layout, operations: Sequence[Operation], bands: Bands) -> float:
        """All steps of a plan, and the tensors that stand whole in memory."""
        steps = sum(self.of_step(operations[step.operation]) for step in bands.steps)
        rows = sum(self.of_rows(operation) for operation in operations)
        spilled = sum(
            storage.nbytes
            for storage in layout.storages()
            if storage.nbytes > self.cache_bytes
            and storage not in bands.ring_rows
            and not storage.is_input
        )
        return steps + rows + self.memory_ns * spilled


def moved_bytes(operation: Operation) -> int:
    """Bytes of the activations that it reads and writes."""
    return sum(v.nbytes for v in activations([*operation.inputs, *operation.outputs]))


def weight_bytes(operation: Operation) -> int:
    """Bytes of its constants."""
    constants = {v for v in operation.inputs if v is not None and v.data is not None}
    return sum(value.nbytes for value in constants)
