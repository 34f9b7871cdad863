"""The tables of `tools/simulate_power.py`, and the promises that they are held to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.power.work import PowerBudget
from edgeinfer.printing import format_table
from tools.power_plant.boards import BOARDS, Board
from tools.power_plant.plant import Load, Plant
from tools.power_plant.simulation import Outcome, at_best, governed, sustained_rate
from tools.power_plant.traces import make_trace, with_deadlines

WINDOW = 10.0
LOAD = Load((0.25,))
"""A model that takes a quarter of a second on one core."""

LEAST_WITHIN, MOST_OVER, LEAST_THROUGHPUT, LEAST_LADDER = 0.99, 1.05, 0.95, 1.3

# YOLOv5x and YOLOv5n: mAP of COCO val2017 and 10^9 operations at 640 x 640, as published in the
# README of github.com/ultralytics/yolov5. The time of the large one is chosen, the small one's
# follows from the operations.
LADDER = ("YOLOv5x", "YOLOv5n")
ACCURACY = (0.507, 0.280)
LADDER_LOAD = Load((0.8, 0.8 * 4.5 / 205.7))
FRAME_SECONDS = 1.0
"""A frame of the ladder's trace has to be done within."""


@dataclass(frozen=True)
class Case:
    """One simulation: which board, trace, seed and seconds."""

    board: str
    trace: str
    seed: int
    seconds: float
    gain: float = 1.0


@dataclass(frozen=True)
class Result:
    """What is held to a promise."""

    case: Case
    within: float
    """Share of windows whose mean power is within the cap."""
    worst: float
    """The heaviest window, as a multiple of the cap."""
    runs: int
    best: int
    """Runs of the oracle."""
    late: int
    """Promised runs that ended too late."""
    refused: int
    reversals: int
    celsius: float
    throttled: float

    @property
    def throughput(self) -> float:
        """Runs in time, as a share of the oracle's."""
        return self.runs / max(1, self.best)

    @property
    def misses(self) -> list[str]:
        """Which promises were not kept."""
        wrong = []
        if self.within < LEAST_WITHIN:
            wrong.append(f"{self.within:.2%} of windows within the cap")
        if self.worst > MOST_OVER:
            wrong.append(f"a window at {self.worst:.3f} of the cap")
        if self.throughput < LEAST_THROUGHPUT:
            wrong.append(f"{self.throughput:.1%} of the oracle's runs")
        if self.late:
            wrong.append(f"{self.late} promised runs late")
        return wrong


def cap_of(board: Board) -> float:
    """Half way between idle and busy: where the cap matters most."""
    return board.idle_watts + 0.5 * (board.busy_watts - board.idle_watts)


def ambient_of(seed: int) -> float:
    """Degrees around the board: 15 to 30, by seed."""
    return 15.0 + 15.0 * (seed * 0.618 % 1.0)


def simulate(case: Case) -> Result:
    """The governor and the oracle on one case."""
    kept, best = outcomes_of(case)
    _, watts = kept.windows()
    return Result(
        case=case,
        within=float(np.mean(watts <= kept.cap_watts)),
        worst=float(watts.max() / kept.cap_watts),
        runs=len(kept.in_time),
        best=len(best.in_time),
        late=kept.late,
        refused=kept.refused,
        reversals=reversals(kept),
        celsius=max(kept.plant.temperatures),
        throttled=kept.plant.throttled_seconds,
    )


def outcomes_of(case: Case) -> tuple[Outcome, Outcome]:
    """What became of the governor and of the oracle."""
    board = BOARDS[case.board]
    cap, ambient = cap_of(board), ambient_of(case.seed)
    rate = sustained_rate(board, Plant(board, LOAD, case.seed, ambient), cap)
    trace = make_trace(case.trace, case.seconds, rate, case.seed)
    budget = PowerBudget(cap, WINDOW)
    kept = governed(
        board, LOAD, trace, budget, case.seconds, case.seed, ambient=ambient, gain=case.gain
    )
    best = at_best(board, LOAD, trace, budget, case.seconds, case.seed, ambient=ambient)
    return kept, best


def reversals(outcome: Outcome) -> int:
    """Times that a setting was left and taken again within one window: oscillation."""
    assert outcome.governor is not None
    taken: list[tuple[float, str]] = []
    count = 0
    for decision in outcome.governor.decisions.of("setting"):
        if any(w == decision.what and decision.time - t < WINDOW for t, w in taken[-2:-1]):
            count += 1
        taken.append((decision.time, decision.what))
    return count + swings([share for _, share in outcome.shares])


def swings(values: Sequence[float], least: float = 0.1) -> int:
    """How often values turned after having moved by at least so much."""
    turns, direction = 0, 0
    low = high = values[0] if values else 0.0
    for value in values:
        low, high = min(low, value), max(high, value)
        if direction >= 0 and value <= high - least:
            turns += direction > 0
            direction, low = -1, value
        elif direction <= 0 and value >= low + least:
            turns += direction < 0
            direction, high = 1, value
        if direction > 0:
            low = high
        elif direction < 0:
            high = low
    return turns


def budget_table(results: Sequence[Result]) -> str:
    """One line for each board and trace, over all seeds."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.case.board, result.case.trace), []).append(result)
    rows = []
    for (board, trace), group in groups.items():
        shares = [r.throughput for r in group]
        rows.append(
            (
                board, trace, len(group),
                f"{min(r.within for r in group):.2%}",
                f"{max(r.worst for r in group):.3f}",
                f"{min(shares):.1%}",
                f"{sum(shares) / len(shares):.1%}",
                sum(r.late for r in group),
                sum(r.refused for r in group),
                f"{sum(r.reversals for r in group) / len(group):.1f}",
                f"{max(r.celsius for r in group):.0f}",
            )
        )  # fmt: skip
    header = (
        "board", "trace", "seeds", "windows within, least", "heaviest window / cap",
        "runs / oracle, least", "mean", "late", "refused", "reversals", "°C",
    )  # fmt: skip
    return format_table(header, rows, right=range(3, 11))


@dataclass(frozen=True)
class LadderResult:
    """Accuracy-weighted runs on the bursty trace."""

    board: str
    seed: int
    ladder: float
    big: float
    small: float
    late: int
    within: float
    worst: float
    share_of_big: float

    @property
    def misses(self) -> list[str]:
        """Which promises were not kept."""
        wrong = []
        if self.ladder < LEAST_LADDER * max(self.big, self.small):
            wrong.append(f"{self.ladder / max(self.big, self.small):.3f} x the better fixed choice")
        if self.late:
            wrong.append(f"{self.late} promised runs late")
        if self.within < LEAST_WITHIN or self.worst > MOST_OVER:
            wrong.append(f"{self.within:.2%} of windows within the cap, worst {self.worst:.3f}")
        return wrong


def simulate_ladder(board_name: str, seed: int, seconds: float) -> LadderResult:
    """The bursty trace, frames to be done in a second, with two models and with each alone."""
    board = BOARDS[board_name]
    cap, ambient = cap_of(board), ambient_of(seed)
    rate = sustained_rate(board, Plant(board, LADDER_LOAD, seed, ambient), cap)
    trace = with_deadlines(make_trace("bursts", seconds, rate, seed), FRAME_SECONDS, "degrade")
    weighted = []
    outcomes = []
    for variants in (None, (0,), (1,)):
        outcome = governed(
            board, LADDER_LOAD, trace, PowerBudget(cap, WINDOW), seconds, seed,
            ambient=ambient, names=LADDER, variants=variants,
        )  # fmt: skip
        assert outcome.governor is not None
        ways = outcome.governor.account.ways
        counts = Counter(ways[t.way].name for t in outcome.in_time if t.way is not None)
        weighted.append(sum(a * counts[name] for a, name in zip(ACCURACY, LADDER, strict=True)))
        outcomes.append((outcome, counts))
    first, counts = outcomes[0]
    _, watts = first.windows()
    return LadderResult(
        board_name, seed, weighted[0], weighted[1], weighted[2],
        sum(o.late for o, _ in outcomes),
        float(np.mean(watts <= cap)), float(watts.max() / cap),
        counts[LADDER[0]] / max(1, sum(counts.values())),
    )  # fmt: skip


def ladder_table(results: Sequence[LadderResult]) -> str:
    """One line for each board."""
    rows = []
    for board in dict.fromkeys(r.board for r in results):
        group = [r for r in results if r.board == board]
        rows.append(
            (
                board, len(group),
                f"{min(r.ladder / r.big for r in group):.2f}",
                f"{min(r.ladder / r.small for r in group):.2f}",
                f"{sum(r.share_of_big for r in group) / len(group):.0%}",
                sum(r.late for r in group),
                f"{min(r.within for r in group):.2%}",
                f"{max(r.worst for r in group):.3f}",
            )
        )  # fmt: skip
    header = (
        "board", "seeds", "ladder / big, least", "ladder / small, least", "runs on the big",
        "late", "windows within, least", "heaviest window / cap",
    )  # fmt: skip
    return format_table(header, rows, right=range(2, 8))


@dataclass(frozen=True)
class HeatResult:
    """A hot day, under a cap that is no limit: only heat is."""

    board: str
    seed: int
    peak: float
    trip: float
    trips: int
    free_trips: int
    """Of a board that nobody governs."""
    runs: int
    free_runs: int
    reversals: int

    @property
    def misses(self) -> list[str]:
        """Which promises were not kept."""
        return [f"the kernel throttled {self.trips} times"] if self.trips else []


def simulate_heat(board_name: str, seed: int, seconds: float) -> HeatResult:
    """All the load it can take, and so hot around it that it would pass the trip point by 8."""
    board = BOARDS[board_name]
    leak = Plant(board, LOAD, seed, 25.0).leak_watts(board.trip_celsius)
    ambient = board.trip_celsius + 8 - (board.busy_watts + leak) * board.kelvin_per_watt
    plant = Plant(board, LOAD, seed, ambient)
    rate = 1 / plant.mean_seconds(0, board.cores)
    trace = make_trace("steady", seconds, rate, seed)
    budget = PowerBudget(1.3 * board.busy_watts, WINDOW)
    kept = governed(board, LOAD, trace, budget, seconds, seed, ambient=ambient)
    free = at_best(board, LOAD, trace, PowerBudget(1e6, WINDOW), seconds, seed, ambient=ambient)
    return HeatResult(
        board_name, seed, max(kept.plant.temperatures), board.trip_celsius,
        kept.plant.trips, free.plant.trips, len(kept.done), len(free.done), reversals(kept),
    )  # fmt: skip


def heat_table(results: Sequence[HeatResult]) -> str:
    """One line for each board."""
    rows = []
    for board in dict.fromkeys(r.board for r in results):
        group = [r for r in results if r.board == board]
        rows.append(
            (
                board, len(group), f"{max(r.peak for r in group):.1f}", f"{group[0].trip:.0f}",
                sum(r.trips for r in group), sum(r.free_trips for r in group),
                f"{min(r.runs / r.free_runs for r in group):.2f}",
                max(r.reversals for r in group),
            )
        )  # fmt: skip
    header = (
        "board", "seeds", "hottest, °C", "trip, °C", "kernel throttled", "without governor",
        "runs / without, least", "reversals, most",
    )  # fmt: skip
    return format_table(header, rows, right=range(2, 8))


@dataclass(frozen=True)
class ClockResult:
    """What the highest clock as a lever is worth."""

    board: str
    seed: int
    runs: int
    without: int
    within: float
    worst: float

    @property
    def misses(self) -> list[str]:
        """Which promises were not kept."""
        if self.within < LEAST_WITHIN or self.worst > MOST_OVER:
            return [f"{self.within:.2%} of windows within the cap, worst {self.worst:.3f}"]
        return []


def simulate_clocks(board_name: str, seed: int, seconds: float) -> ClockResult:
    """Twice the load that the cap sustains, with the clock as a lever and without."""
    board = BOARDS[board_name]
    cap, ambient = cap_of(board), ambient_of(seed)
    rate = sustained_rate(board, Plant(board, LOAD, seed, ambient), cap)
    trace = make_trace("steady", seconds, 2 * rate, seed)
    kept, without = (
        governed(
            board, LOAD, trace, PowerBudget(cap, WINDOW), seconds, seed,
            ambient=ambient, clocks=clocks,
        )
        for clocks in (True, False)
    )  # fmt: skip
    _, watts = kept.windows()
    return ClockResult(
        board_name, seed, len(kept.done), len(without.done),
        float(np.mean(watts <= cap)), float(watts.max() / cap),
    )  # fmt: skip


def clock_table(results: Sequence[ClockResult]) -> str:
    """One line for each board."""
    rows = []
    for board in dict.fromkeys(r.board for r in results):
        group = [r for r in results if r.board == board]
        rows.append(
            (
                board, len(group),
                f"{min(r.runs / r.without for r in group):.2f}",
                f"{min(r.within for r in group):.2%}",
                f"{max(r.worst for r in group):.3f}",
            )
        )  # fmt: skip
    header = (
        "board", "seeds", "runs / without the clock, least", "windows within, least",
        "heaviest window / cap",
    )  # fmt: skip
    return format_table(header, rows, right=range(2, 5))
