"""Between a governor, which has no clock, and threads that want to run a model now.

A thread asks for its turn and sleeps until the governor lets it start. A thread of its own reads
the meter and the temperatures; it ends with the keeper, and does not keep the process alive.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from edgeinfer.errors import EdgeInferError
from edgeinfer.power.governor import Governor
from edgeinfer.power.heat import HeatReader
from edgeinfer.power.levers import Lever
from edgeinfer.power.meter import Meter
from edgeinfer.power.model_meter import ModelMeter
from edgeinfer.power.work import OnLate, Start, Ticket

_HEAT_SECONDS = 1.0
_COUNTER_SECONDS = 10.0  # signs of throttling may need a process to be started
_LONGEST_SLEEP = 60.0

_log = logging.getLogger("edgeinfer.power")


class PowerKeeper:
    """Lets threads run when the governor says so.

    Parameters
    ----------
    governor : Governor
    meter : Meter
        Read from a thread of its own; its clock and `clock` are the same.
    heat : HeatReader
    levers : sequence of Lever
        Put back when the keeper is closed.
    clock : callable
        Seconds, ever rising.
    """

    def __init__(
        self,
        governor: Governor,
        meter: Meter,
        heat: HeatReader,
        levers: Sequence[Lever] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.governor = governor
        self.meter = meter
        self._heat = heat
        self._clock = clock
        self._users = 0
        self._is_closed = False
        # Also when nobody closes it: what was written into the system goes back at exit.
        self._end = weakref.finalize(self, _close, meter, tuple(levers))
        self._begin()

    def acquire(
        self, deadline: float | None = None, priority: int = 0, on_late: OnLate = "refuse"
    ) -> Ticket:
        """Wait until a run may start; `release` follows it, whatever becomes of the run.

        Parameters
        ----------
        deadline : float, seconds from now

        Raises
        ------
        PowerBudgetError
            It cannot be had.
        """
        if self._process != os.getpid():
            self._begin()  # in the child of a fork there is no thread, and locks may be held
        with self._changed:
            self._require_open()
            now = self._clock()
            absolute = None if deadline is None else now + deadline
            ticket = self.governor.submit(
                now, deadline=absolute, priority=priority, on_late=on_late
            )
            try:
                while ticket.started is None:
                    answer = self.governor.next(self._clock())
                    if isinstance(answer, Start):
                        self._changed.notify_all()
                        continue
                    left = answer.until - self._clock()
                    if left > 0:
                        self._changed.wait(min(left, _LONGEST_SLEEP))
                        self._require_open()
            except BaseException:
                self.governor.cancel(self._clock(), ticket)
                self._changed.notify_all()
                raise
        return ticket

    def try_way(self, way: int) -> Ticket:
        """Start a run in this way at once."""
        with self._changed:
            return self.governor.try_way(self._clock(), way)

    def release(self, ticket: Ticket) -> None:
        """The run has ended."""
        with self._changed:
            now = self._clock()
            joules = self.governor.finish(now, ticket)
            self._changed.notify_all()
        if isinstance(self.meter, ModelMeter):
            self.meter.add_run(max(joules, 0.0))
        if ticket.deadline is not None and now > ticket.deadline:
            _log.warning("%s", self.governor.decisions[-1])

    def charge(self, seconds: float) -> None:
        """A run was done in pieces, which took that long together and waited for nothing."""
        with self._changed:
            joules = self.governor.charge(self._clock(), seconds)
        if isinstance(self.meter, ModelMeter):
            self.meter.add_run(max(joules, 0.0))

    def join(self) -> None:
        """One more session uses it."""
        self._users += 1

    def leave(self) -> None:
        """One session less; the last one closes it."""
        self._users -= 1
        if self._users <= 0:
            self.close()

    def close(self) -> None:
        """End the thread, and put levers back. Threads that wait get an error."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._stop.set()
        self._end()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._stop = threading.Event()
        thread = threading.Thread(
            target=_watch,
            args=(weakref.ref(self), self._stop),
            name="edgeinfer-governor",
            daemon=True,
        )
        thread.start()

    def _require_open(self) -> None:
        if self._is_closed:
            raise EdgeInferError("this model is closed")

    def _read(self, with_heat: bool, with_counters: bool) -> float:
        """Read what is due. Returns the seconds until the next time."""
        reading = self.meter.read()
        heat = self._heat.read(with_counters=with_counters) if with_heat else None
        with self._changed:
            self.governor.observe(reading)
            if heat is not None:
                self.governor.observe_heat(self._clock(), heat)
            return self.governor.reading_interval(self.meter.interval)


def _watch(of: weakref.ref[PowerKeeper], stop: threading.Event) -> None:
    """Read the meter and the temperatures until the keeper is closed or gone."""
    next_heat = next_counters = -math.inf
    pause = 0.0
    while not stop.wait(pause):
        keeper = of()
        if keeper is None:
            return
        now = time.monotonic()
        with_heat = now >= next_heat and keeper._heat.is_of_use
        with_counters = with_heat and now >= next_counters
        if with_heat:
            next_heat = now + _HEAT_SECONDS
        if with_counters:
            next_counters = now + _COUNTER_SECONDS
        pause = keeper._read(with_heat, with_counters)
        del keeper


def _close(meter: Meter, levers: Sequence[Lever]) -> None:
    for lever in reversed(levers):
        lever.close()
    meter.close()
