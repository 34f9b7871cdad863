"""What a governor is asked for, and what it may choose from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgeinfer.errors import InputError

OnLate = Literal["refuse", "degrade"]


@dataclass(frozen=True)
class PowerBudget:
    """What must hold. At least one of the two budgets is given."""

    watts: float | None
    """Mean power of every window, of all that the meter covers; None: no limit."""
    window: float = 10.0
    """Seconds."""
    joules_per_run: float | None = None
    """What one run may take beyond idle; None: no limit."""
    patience: float | None = None
    """Seconds that a run without a deadline waits before a smaller variant is taken; a tenth of the
    window by default."""
    burst: float = 1.0
    """Of the joules that a window may take beyond idle, how many may go at once after a quiet time.
    """

    def __post_init__(self) -> None:
        if self.watts is None and self.joules_per_run is None:
            raise InputError("a power budget needs power_budget or energy_budget")
        if not 0 < self.burst <= 1:
            raise InputError(f"burst is {self.burst}; it must be above 0 and at most 1")

    @property
    def longest_wait(self) -> float:
        """What `patience` is."""
        return self.window / 10 if self.patience is None else self.patience


@dataclass(frozen=True)
class Way:
    """One way to run: which variant of the model, on how many threads, on which cores."""

    variant: int
    """0 is the largest."""
    threads: int
    cpus: tuple[int, ...] = ()
    """Empty: wherever the system puts them."""
    name: str = ""
    """Of the variant."""
    joules: float | None = None
    """Beyond idle, of one run, where a model says it: it is not learned then."""
    khz: int | None = None
    """The highest clock meanwhile, where that lever is allowed."""

    def __str__(self) -> str:
        cores = f" on CPUs {','.join(map(str, self.cpus))}" if self.cpus else ""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        clock = f" at {self.khz / 1e6:.2f} GHz" if self.khz is not None else ""
        return f"{self.name or f'variant {self.variant}'}, {threads}{cores}{clock}"


@dataclass(eq=False)
class Ticket:
    """A run that was asked for, and what became of it."""

    number: int
    arrival: float
    priority: int
    deadline: float | None
    """Seconds of the governor's clock; None: whenever there is room."""
    way: int | None = None
    """Index of the way to run, settled at admission for deadlines and at the start for others."""
    degraded: bool = False
    """Whether it runs on a smaller variant than was asked for."""
    started: float | None = None
    ended: float | None = None
    joules: float = field(default=0.0)
    """What the run is taken to have cost, beyond idle."""

    @property
    def waited(self) -> float:
        """Seconds between asking and starting."""
        return 0.0 if self.started is None else self.started - self.arrival


@dataclass(frozen=True)
class Start:
    """Run this now, in the way that its ticket says."""

    ticket: Ticket


@dataclass(frozen=True)
class Wait:
    """Nothing may start before this moment, or before something else happens."""

    until: float
