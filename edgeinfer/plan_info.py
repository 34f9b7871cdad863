"""What a model's memory plan says: plain data, imported when a plan is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PeakStep:
    """The step at which the arena is fullest."""

    index: int
    node: str
    operator: str

    def __str__(self) -> str:
        return f"step {self.index}, {self.node!r} ({self.operator})"


@dataclass(frozen=True)
class PlannedBuffer:
    """A range of the arena, in bytes, and the steps (inclusive) during which it is in use."""

    offset: int
    nbytes: int
    first_step: int
    last_step: int
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class PlanInfo:
    """What a session needs, in bytes, as planned at conversion: the same on every CPU.

    `session_bytes` is everything: arena (activations, graph inputs and outputs included), state
    that outlives a run, and bookkeeping. Each thread beyond the first adds `thread_bytes` to it.
    `weights_bytes` are read in place from the file.
    """

    arena_bytes: int
    state_bytes: int
    session_bytes: int
    thread_bytes: int
    weights_bytes: int
    peak_step: PeakStep
    buffers: tuple[PlannedBuffer, ...] = field(repr=False)
