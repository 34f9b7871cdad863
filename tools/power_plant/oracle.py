"""A scheduler with the governor's levers that knows the device: what could be had at best.

It knows the joules that went out, what each run will take, and how warm the board is; so it starts
a run as soon as the window that ends with it has room to the last joule, in the way that yields the
most. It keeps no margin, spreads nothing, and learns nothing.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence

from edgeinfer.errors import PowerBudgetError
from edgeinfer.power.timeline import Forecast, Timeline
from edgeinfer.power.work import OnLate, Start, Ticket, Wait, Way
from tools.power_plant.plant import Plant


class _Known(Timeline):
    """The plant's own joules."""

    def __init__(self, plant: Plant, window: float) -> None:
        super().__init__(window, plant.idle_watts(), 0.0)
        self._plant = plant

    def at(self, when: float) -> float:
        """Cumulative joules; after now the board idles."""
        plant = self._plant
        if when <= plant.now:
            return plant.joules_at(when)
        return plant.joules + plant.idle_watts() * (when - plant.now)


class Oracle:
    """Drives a plant as a `Governor` would, with perfect knowledge.

    Parameters
    ----------
    plant : Plant
    ways : sequence of Way
        All of one variant.
    cap_watts, window : float
    """

    def __init__(self, plant: Plant, ways: Sequence[Way], cap_watts: float, window: float) -> None:
        self._plant = plant
        self._ways = ways
        self._allowed = cap_watts * window
        self._spendable = cap_watts - plant.idle_watts()
        self._timeline = _Known(plant, window)
        self._promised: list[Ticket] = []
        self._waiting: list[tuple[int, int, Ticket]] = []
        self._running: Ticket | None = None
        self._ends = 0.0
        self._number = 0

    @property
    def queued(self) -> int:
        """Runs without a deadline that have not begun."""
        return len(self._waiting)

    def submit(
        self,
        now: float,
        *,
        deadline: float | None = None,
        priority: int = 0,
        on_late: OnLate = "refuse",
    ) -> Ticket:
        """As the governor's.

        Raises
        ------
        PowerBudgetError
            The deadline cannot be kept.
        """
        self._number += 1
        ticket = Ticket(self._number, now, priority, deadline)
        if deadline is None:
            insort(self._waiting, (-priority, ticket.number, ticket))
            return ticket
        for way in self._by_yield():
            ticket.way = way
            promised = [*self._promised]
            insort(promised, ticket, key=lambda t: (t.deadline, t.number))
            if self._are_kept(now, promised, None):
                self._promised = promised
                return ticket
        raise PowerBudgetError("not in time")

    def next(self, now: float) -> Start | Wait:
        """As the governor's."""
        if self._running is not None or not (self._promised or self._waiting):
            return Wait(math.inf)
        until = math.inf
        for ticket in [*self._promised[:1], *(entry[2] for entry in self._waiting[:1])]:
            if ticket.deadline is None:
                ticket.way = self._by_yield()[0]
            assert ticket.way is not None
            seconds, joules = self._cost(ticket)
            forecast = Forecast(self._timeline, now)
            start = forecast.earliest(now, seconds, joules, self._allowed)
            if start is None:
                start = now + 0.1
            if start <= now and ticket.deadline is None:
                kept = not self._promised
                if kept or self._are_kept(now, self._promised, (seconds, joules)):
                    del self._waiting[0]
                    return self._start(now, ticket, seconds)
                start = now + 0.2 * seconds
            elif start <= now:
                del self._promised[0]
                return self._start(now, ticket, seconds)
            until = min(until, start)
        return Wait(max(until, now + 1e-5))

    def finish(self, now: float, ticket: Ticket) -> float:
        """As the governor's."""
        self._running = None
        ticket.ended = now
        return 0.0

    def _start(self, now: float, ticket: Ticket, seconds: float) -> Start:
        ticket.started = now
        self._running = ticket
        self._ends = now + seconds
        return Start(ticket)

    def _cost(self, ticket: Ticket) -> tuple[float, float]:
        assert ticket.way is not None
        way = self._ways[ticket.way]
        seconds, watts = self._plant.draw(ticket.number, way.variant, way.threads)
        return seconds, seconds * watts

    def _by_yield(self) -> list[int]:
        """Ways, that with the most runs per second under the cap first."""
        plant = self._plant

        def period(index: int) -> float:
            way = self._ways[index]
            seconds = plant.mean_seconds(way.variant, way.threads)
            joules = seconds * plant.mean_active_watts(way.threads)
            return max(seconds, joules / self._spendable)

        return sorted(range(len(self._ways)), key=period)

    def _are_kept(
        self, now: float, promised: Sequence[Ticket], first: tuple[float, float] | None
    ) -> bool:
        forecast = Forecast(self._timeline, now)
        start = now
        if self._running is not None:
            seconds, joules = self._cost(self._running)
            left = max(self._ends - now, 0.0)
            forecast.add_run(now, left, joules * left / seconds)
            start = forecast.end
        if first is not None:
            forecast.add_run(start, *first)
            start = forecast.end
        for ticket in promised:
            seconds, joules = self._cost(ticket)
            begin = forecast.earliest(start, seconds, joules, self._allowed)
            if begin is None or begin + seconds > (ticket.deadline or math.inf):
                return False
            forecast.add_run(begin, seconds, joules)
            start = forecast.end
        return True
