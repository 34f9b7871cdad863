"""Virtual time: arrivals, runs, readings and heat, between a plant and who schedules its runs.

The governor in here is the one of a session, and so are the meters and the readers of temperatures:
they read the plant's files. Only the clock is another one.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeinfer.errors import PowerBudgetError
from edgeinfer.power import ModelMeter
from edgeinfer.power.device_energy import PI_4
from edgeinfer.power.discover import best_meter
from edgeinfer.power.governor import Governor
from edgeinfer.power.heat import HeatReader
from edgeinfer.power.learned_power import Guess
from edgeinfer.power.levers import FrequencyLimit
from edgeinfer.power.meter import Meter
from edgeinfer.power.work import OnLate, PowerBudget, Start, Ticket, Wait, Way
from tools.power_plant.boards import Board
from tools.power_plant.oracle import Oracle
from tools.power_plant.plant import Load, Plant
from tools.power_plant.traces import Trace
from tools.power_plant.tree import BoardTree

_HEAT_SECONDS = 1.0


class Scheduler(Protocol):
    """What decides when a run starts: the governor or the oracle."""

    @property
    def queued(self) -> int:
        """Runs without a deadline that have not begun."""

    def submit(
        self, now: float, *, deadline: float | None, priority: int, on_late: OnLate
    ) -> Ticket:
        """A run is asked for."""

    def next(self, now: float) -> Start | Wait:
        """What to do now."""

    def finish(self, now: float, ticket: Ticket) -> float:
        """A run has ended."""


@dataclass
class Outcome:
    """What came of a simulation."""

    plant: Plant
    seconds: float
    window: float
    cap_watts: float
    done: list[Ticket] = field(default_factory=list)
    refused: int = 0
    turned_away: int = 0
    pace: list[tuple[float, float]] = field(default_factory=list)
    """Times, and the seconds since the run before."""
    shares: list[tuple[float, float]] = field(default_factory=list)
    governor: Governor | None = None

    @property
    def in_time(self) -> list[Ticket]:
        """Runs that ended, and before their deadline where they had one."""
        return [t for t in self.done if t.deadline is None or (t.ended or 0) <= t.deadline]

    @property
    def late(self) -> int:
        """Runs that were promised and ended too late."""
        return len(self.done) - len(self.in_time)

    def windows(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Ends of windows, every 20 ms and at the end of every run, and mean watts of each."""
        ended = [t.ended for t in self.done if t.ended is not None and t.ended <= self.seconds]
        ends = np.union1d(np.arange(0.02, self.seconds, 0.02), np.array(ended))
        times = np.array([-self.window, *self.plant.times])
        idle = -self.plant.board.idle_watts * self.window
        joules = np.array([idle, *self.plant.cumulative])
        spent = np.interp(ends, times, joules) - np.interp(ends - self.window, times, joules)
        return ends, spent / self.window


def ways_of(board: Board, plant: Plant, names: Sequence[str], threads: Sequence[int]) -> list[Way]:
    """All ways to run on a board; the first number of threads is the preferred one."""
    ways = []
    for variant, name in enumerate(names):
        for count in threads:
            joules = None
            if board.sensor.kind == "model":
                joules = plant.mean_seconds(variant, count) * plant.mean_active_watts(count)
            ways.append(Way(variant, count, (), name, joules))
    return ways


def threads_of(board: Board) -> tuple[int, ...]:
    """All cores, and halves of them."""
    counts = []
    count = board.cores
    while count >= 1:
        counts.append(count)
        count //= 2
    return tuple(counts)


def sustained_rate(board: Board, plant: Plant, cap_watts: float, variant: int = 0) -> float:
    """Runs per second of the best way that the cap allows for ever, at the reference."""
    best = 0.0
    for count in threads_of(board):
        seconds = plant.mean_seconds(variant, count)
        joules = seconds * plant.mean_active_watts(count)
        best = max(best, min(1 / seconds, (cap_watts - board.idle_watts) / joules))
    return best


def governed(
    board: Board,
    load: Load,
    trace: Trace,
    budget: PowerBudget,
    seconds: float,
    seed: int,
    *,
    ambient: float = 25.0,
    names: Sequence[str] = ("model",),
    gain: float = 1.0,
    variants: Sequence[int] | None = None,
    clocks: bool = False,
) -> Outcome:
    """Simulate the governor.

    Parameters
    ----------
    gain : float
        What the sensor or the model says, as a multiple of the truth.
    variants : sequence of int
        Those that may be used; all by default.
    clocks : bool
        Whether the highest clock is a lever, by way of the tree's scaling_max_freq.
    """
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
        run = _Governed(
            board, load, budget, seed, Path(folder), ambient, names, gain, variants, clocks
        )
        return run.through(trace, seconds)


def at_best(
    board: Board,
    load: Load,
    trace: Trace,
    budget: PowerBudget,
    seconds: float,
    seed: int,
    *,
    ambient: float = 25.0,
) -> Outcome:
    """Simulate the oracle."""
    plant = Plant(board, load, seed, ambient)
    cap = budget.watts or math.inf
    ways = ways_of(board, plant, ["model"], threads_of(board))
    oracle = Oracle(plant, ways, cap, budget.window)
    outcome = Outcome(plant, seconds, budget.window, cap)
    _Loop(plant, oracle, [(w.variant, w.threads) for w in ways], trace, outcome).run(seconds)
    return outcome


class _Loop:
    """The next thing that happens, again and again."""

    def __init__(
        self,
        plant: Plant,
        scheduler: Scheduler,
        runs: Sequence[tuple[int, int]],
        trace: Trace,
        outcome: Outcome,
    ) -> None:
        self.plant = plant
        self.scheduler = scheduler
        self.runs = runs  # variant and threads, by way
        self.trace = trace
        self.outcome = outcome
        self.ending: tuple[float, Ticket] | None = None
        self._last_start = 0.0

    def run(self, seconds: float) -> None:
        arrivals = iter(self.trace.arrivals)
        arrival = next(arrivals, None)
        while True:
            wake = self._advance_decisions()
            coming = arrival.time if arrival is not None else math.inf
            ends = self.ending[0] if self.ending is not None else math.inf
            when = min(wake, coming, ends, self.next_reading())
            if when >= seconds:
                break
            self.plant.advance(when)
            if when == ends:
                self.end_run()
            elif when == coming and arrival is not None:
                self._arrive(arrival.deadline, arrival.priority)
                arrival = next(arrivals, None)
            self.read_if_due()
        self.plant.advance(seconds)

    def next_reading(self) -> float:
        """When the meter is read; the oracle needs none."""
        return math.inf

    def read_if_due(self) -> None:
        """Read what is due now."""

    def end_run(self) -> None:
        assert self.ending is not None
        now, ticket = self.ending
        self.ending = None
        self.plant.stop()
        self.scheduler.finish(now, ticket)
        self.outcome.done.append(ticket)

    def begin_run(self, ticket: Ticket) -> None:
        assert ticket.way is not None
        now = self.plant.now
        seconds, watts = self.plant.draw(ticket.number, *self.runs[ticket.way])
        self.plant.start(watts)
        self.ending = (now + seconds, ticket)
        self.outcome.pace.append((now, now - self._last_start))
        self._last_start = now

    def _advance_decisions(self) -> float:
        answer = self.scheduler.next(self.plant.now)
        if isinstance(answer, Wait):
            return answer.until
        self.begin_run(answer.ticket)
        return math.inf

    def _arrive(self, deadline: float | None, priority: int) -> None:
        now = self.plant.now
        if deadline is None and self.scheduler.queued >= self.trace.queue:
            self.outcome.turned_away += 1
            return
        absolute = None if deadline is None else now + deadline
        try:
            self.scheduler.submit(
                now, deadline=absolute, priority=priority, on_late=self.trace.on_late
            )
        except PowerBudgetError:
            self.outcome.refused += 1


class _Governed(_Loop):
    """With the governor, meters and files."""

    def __init__(
        self,
        board: Board,
        load: Load,
        budget: PowerBudget,
        seed: int,
        folder: Path,
        ambient: float,
        names: Sequence[str],
        gain: float,
        variants: Sequence[int] | None,
        clocks: bool,
    ) -> None:
        self.plant = plant = Plant(board, load, seed, ambient)
        self._tree = BoardTree(plant, folder, seed, gain)
        self._meter = self._find_meter(str(folder), board)
        self._heat = HeatReader(str(folder))
        ways = ways_of(board, plant, names, threads_of(board))
        if variants is not None:
            ways = [
                Way(i, w.threads, w.cpus, w.name, w.joules)
                for i, v in enumerate(variants)
                for w in ways
                if w.variant == v
            ]
        if board.sensor.kind == "model":
            ways = [Way(w.variant, w.threads, (), w.name, gain * (w.joules or 0)) for w in ways]
        self._clocks = FrequencyLimit(str(folder)) if clocks else None
        if self._clocks is not None:
            ways = [replace(w, khz=khz) for khz in self._clocks.choices for w in ways]
        # What the plant runs for each way, however the governor numbers its variants.
        runs = [(names.index(w.name), w.threads) for w in ways]
        dice = random.Random(seed ^ 0x1D1E)
        # What is known beforehand is a profile: off by up to a quarter, and a third.
        idle = board.idle_watts * dice.uniform(0.8, 1.25)
        if board.sensor.kind == "model":
            idle = board.idle_watts * gain
        off = dice.uniform(0.75, 1.33)
        active = [off * plant.mean_active_watts(w.threads) for w in ways]
        self._governor = Governor(
            budget,
            ways,
            idle=Guess(idle, 0.0 if board.sensor.kind == "model" else 0.2 * idle),
            active=[Guess(watts, 0.4 * watts) for watts in active],
            seconds=[2 * plant.mean_seconds(*run) for run in runs],
            log=1_000_000,  # the tables count decisions of all kinds
            now=0.0,
        )
        outcome = Outcome(plant, 0.0, budget.window, budget.watts or math.inf)
        outcome.governor = self._governor
        super().__init__(plant, self._governor, runs, Trace("", (), 0), outcome)
        self._next_reading = 0.0
        self._next_heat = 0.0

    def through(self, trace: Trace, seconds: float) -> Outcome:
        """Run the trace."""
        self.trace = trace
        self.outcome.seconds = seconds
        self._prime()
        self.run(seconds)
        return self.outcome

    def next_reading(self) -> float:
        return self._next_reading

    def begin_run(self, ticket: Ticket) -> None:
        khz = self._governor.account.ways[ticket.way or 0].khz
        if self._clocks is not None and khz is not None:
            self._clocks.set(khz)
            self._tree.read_limits()
        super().begin_run(ticket)

    def read_if_due(self) -> None:
        now, governor = self.plant.now, self._governor
        if now >= self._next_reading:
            self._tree.show()
            governor.observe(self._meter.read())
            self._next_reading = now + governor.reading_interval(self._meter.interval)
        if now >= self._next_heat:
            self._next_heat = now + _HEAT_SECONDS
            governor.observe_heat(now, self._heat.read())
            self.outcome.shares.append((now, governor.share))

    def end_run(self) -> None:
        assert self.ending is not None
        ticket = self.ending[1]
        super().end_run()
        if isinstance(self._meter, ModelMeter):
            self._meter.add_run(ticket.joules)

    def _prime(self) -> None:
        """Each way twice, as a session does when it is loaded."""
        for way in range(len(self.runs)):
            for _ in range(2):
                ticket = self._governor.try_way(self.plant.now, way)
                self.begin_run(ticket)
                assert self.ending is not None
                end = self.ending[0]
                while self._next_reading < end:
                    self.plant.advance(max(self._next_reading, self.plant.now))
                    self.read_if_due()
                self.plant.advance(end)
                self.end_run()
        self.outcome.done.clear()
        self.outcome.pace.clear()

    def _find_meter(self, root: str, board: Board) -> Meter:
        def clock() -> float:
            return self.plant.now

        if board.sensor.kind == "model":
            return ModelMeter(PI_4, clock=clock)
        return best_meter(root, clock=clock)


def _memory_folder() -> str | None:
    """Where writing small files costs nothing, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
