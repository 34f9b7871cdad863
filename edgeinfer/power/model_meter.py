"""The meter of boards without a sensor: idle power, and the work that is reported to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgeinfer.errors import InputError
from edgeinfer.power.energy_profile import DeviceEnergy
from edgeinfer.power.faults import Fault
from edgeinfer.power.reading import Origin, Reading, Scope, Source


class ModelMeter:
    """Counts joules = idle power x time + what the runs that were reported to it cost.

    Knows nothing of other programs. Whoever runs a model reports each run:

    >>> joules = profile.of_run(model.step_costs)
    >>> model.run(x)
    >>> meter.add_run(joules)

    Parameters
    ----------
    profile : DeviceEnergy
    clock : callable
        Seconds, ever rising.
    """

    name = "model"
    source: Source = "model"
    origin: Origin = "modelled"
    scope: Scope = "board"
    interval = 0.1
    longest_interval = float("inf")

    def __init__(
        self, profile: DeviceEnergy, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.profile = profile
        self.covers = (
            f"a model of {profile.name}: {profile.idle_watts:g} W at idle and the runs of this "
            "process; no other program, and nothing that is plugged in"
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._start = clock()
        self._last_time = self._start
        self._last_joules = 0.0
        self._work = 0.0

    def now(self) -> float:
        """The clock that readings carry."""
        return self._clock()

    def add_run(self, joules: float) -> None:
        """A run ended that cost so much beyond idle (`DeviceEnergy.of_run`). From any thread."""
        if not 0 <= joules < float("inf"):
            raise InputError(f"a run costs {joules} J; it must be a finite number of at least 0")
        with self._lock:
            self._work += joules

    def read(self) -> Reading:
        """Idle power until now, and the runs so far."""
        with self._lock:
            now = self._clock()
            fault = Fault.CLOCK if now < self._last_time else None
            now = max(now, self._last_time)
            joules = self.profile.idle_watts * (now - self._start) + self._work
            passed = now - self._last_time
            watts = (joules - self._last_joules) / passed if passed > 0 else None
            if fault is None:
                self._last_time, self._last_joules = now, joules
            return Reading(
                time=now,
                joules=joules,
                watts=None if fault else watts,
                source=self.source,
                origin=self.origin,
                covers=self.covers,
                resolution=None,
                unit="J",
                error=self.profile.error,
                fault=fault,
                detail="the clock went back" if fault else "",
            )

    def close(self) -> None:
        """Nothing is held."""
