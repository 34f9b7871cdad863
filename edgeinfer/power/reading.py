"""One reading of a meter, with where it comes from and what it is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgeinfer.power.faults import Fault

Source = Literal[
    "rapl", "ina3221", "ina238", "pmic", "hwmon", "battery", "dtpm", "model", "constant"
]
Origin = Literal["measured", "modelled", "constant"]
"""A sensor's; computed from what ran or from the load; or a number that somebody wrote down."""

Scope = Literal["board", "chip", "part"]
"""All that the board takes; the processor's package; or some of what another meter has whole."""


@dataclass(frozen=True)
class Reading:
    """What a meter says at one moment.

    With a fault, `watts` is None and `joules` stays what it was. Whoever needs a bound for the time
    that was not metered takes it from `unmetered`.
    """

    time: float
    """Seconds of the meter's clock (time.monotonic)."""
    joules: float | None
    """Counted since the meter's first good reading; never less than before. None before that."""
    watts: float | None
    """Mean since the reading before (energy counters), or at this moment (power sensors)."""
    source: Source
    origin: Origin
    covers: str
    """What the value includes, and what it leaves out."""
    resolution: float | None
    """The smallest step, in `unit`, where it is known."""
    unit: Literal["J", "W"]
    """Whether the sensor counts energy or shows power."""
    error: float | None = None
    """Relative standard error of a modelled value."""
    fault: Fault | None = None
    detail: str = ""
    """Of the fault: which file or command, and what was found there."""
    unmetered: float = 0.0
    """Seconds since the first good reading of which the energy is not in `joules`."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        found = asdict(self)
        found["fault"] = None if self.fault is None else str(self.fault)
        return found
