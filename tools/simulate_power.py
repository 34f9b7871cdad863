"""Simulate the power governor on boards, and hold it to its promises.

    python tools/simulate_power.py --seeds 20 --all         # every board and trace
    python tools/simulate_power.py --board pi-5 --trace bursts --plots plots/
    python tools/simulate_power.py --seeds 20 --ladder      # two models against each alone
    python tools/simulate_power.py --heat --seconds 1200    # a hot day
    python tools/simulate_power.py --clocks                 # with the clock as a lever
    python tools/simulate_power.py --board pi-4 --gain 0.9  # a sensor that shows too little

The governor, the meters and the readers of temperatures are those of the package; the board is a
plant in virtual time that writes the files they read (tools/power_plant). Each simulation comes of
its seed alone. The exit code is 1 when a promise is broken: at least 99 % of all windows within the
cap and none more than 5 % over, at least 95 % of the runs of an oracle that knows the plant, no
promised deadline missed; for the ladder 1.3 times the accuracy-weighted runs of either model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.power_plant import report  # noqa: E402
from tools.power_plant.boards import BOARDS  # noqa: E402
from tools.power_plant.report import Case  # noqa: E402
from tools.power_plant.traces import TRACES  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, print its table, and say what was missed."""
    args = parse(arguments)
    boards = args.board or list(BOARDS)
    misses: list[str] = []
    if args.sources:
        print_sources(boards)
        return 0
    with ProcessPoolExecutor(args.jobs) as pool:
        for asked, simulate, table, known in (
            (args.ladder, report.simulate_ladder, report.ladder_table, boards),
            (args.heat, report.simulate_heat, report.heat_table, boards),
            (args.clocks, report.simulate_clocks, report.clock_table, measured(boards)),
        ):
            if asked:
                misses += table_of(pool, simulate, table, known, args)
        if args.all or not (args.ladder or args.heat or args.clocks):
            cases = [
                Case(board, trace, seed, args.seconds, args.gain)
                for board in boards
                for trace in args.trace or TRACES
                for seed in range(args.seeds)
            ]
            results = list(pool.map(report.simulate, cases))
            print(report.budget_table(results))
            misses += [
                f"{r.case.board}, {r.case.trace}, seed {r.case.seed}: {m}"
                for r in results
                for m in r.misses
            ]
    if args.plots is not None:
        draw(boards, args.trace or list(TRACES), args.seconds, args.plots)
    for miss in misses:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if misses else 0


def table_of(
    pool: ProcessPoolExecutor,
    simulate: Callable[[str, int, float], Any],
    table: Callable[[Any], str],
    boards: list[str],
    args: argparse.Namespace,
) -> list[str]:
    """Simulate every board and seed, print the table, and return what was missed."""
    tasks = [
        pool.submit(simulate, board, seed, args.seconds)
        for board in boards
        for seed in range(args.seeds)
    ]
    results = [task.result() for task in tasks]
    print(table(results))
    return [f"{r.board}, seed {r.seed}: {miss}" for r in results for miss in r.misses]


def measured(boards: list[str]) -> list[str]:
    """Boards with a sensor: a model knows nothing of clocks."""
    return [board for board in boards if BOARDS[board].sensor.kind != "model"]


def draw(boards: list[str], traces: list[str], seconds: float, folder: Path) -> None:
    """A picture of every board and trace, from the first seed."""
    from tools.power_plant.plots import plot_outcome

    folder.mkdir(parents=True, exist_ok=True)
    for board in boards:
        for trace in traces:
            kept, best = report.outcomes_of(Case(board, trace, 0, seconds))
            target = folder / f"{board}_{trace}.svg"
            plot_outcome(kept, best, f"{board}, {trace}", target)
            print(target)


def print_sources(boards: list[str]) -> None:
    """Where the figures of boards come from."""
    for name in boards:
        print(name)
        for source in BOARDS[name].sources:
            print(f"  {source}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="the budget table, with others too")
    parser.add_argument("--ladder", action="store_true", help="two models against each alone")
    parser.add_argument("--heat", action="store_true", help="a hot day, under no other limit")
    parser.add_argument("--clocks", action="store_true", help="the highest clock as a lever")
    parser.add_argument("--board", action="append", choices=list(BOARDS), help="only this one")
    parser.add_argument("--trace", action="append", choices=TRACES, help="only this one")
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    parser.add_argument("--seconds", type=float, default=150.0, help="simulated (150)")
    parser.add_argument(
        "--gain", type=float, default=1.0, help="what sensors show of the truth (1)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the first seed; matplotlib")
    parser.add_argument("--sources", action="store_true", help="print where the figures come from")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
