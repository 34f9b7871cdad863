"""A governed run on this machine, watched from outside; and what the governor costs.

    python tools/govern_here.py model.tflite [--share 0.3 | --rate 150] [--seconds 60]
    python tools/govern_here.py model.tflite --cost

A child process loads the model under a power budget that allows so many runs a second by the
modelled meter, and runs it in a loop. This process reads the child's CPU time from /proc/PID, which
the governor has no part in.

CPU time is no measure of runs by itself: what a run takes of it depends on the clock, on caches
that others have used meanwhile, and on what else the host of a virtual machine does. So a second
child, the reference, runs the same model on the same core, at the same rate, between the runs of
the first; it is held back by the clock and not by a budget. What its runs take is what a run takes
at that time in that place, and the first child's CPU time divided by it counts its runs from
outside.

The exit code is 0 when all of this holds:
- the rate of each slot of ten seconds is within 3 % of the mean;
- so are the runs that CPU time counts from outside;
- over the whole time, these are no fewer than the child told, less 3 %. They are more, as its CPU
  time has the governor's own in it: what it takes to wait is printed;
- the rate is not above what the budget allows.

The two children need two thirds of a core by default. Where other programs want it too, the rate is
what they leave, unless this one goes first: chrt --rr 1 python tools/govern_here.py ...

--cost prints the CPU time of a governed process that runs nothing, as a share of a core, and what
the governor adds to a run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import edgeinfer  # noqa: E402
from edgeinfer.power.governed import GovernedModel  # noqa: E402
from edgeinfer.printing import format_table  # noqa: E402

_SLOT = 10.0
_MOST_OFF = 0.03
_WARM_SECONDS = 25.0  # the first window may be spent at once, and the next has its rest
_COST_SECONDS = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process: int) -> float:
    """CPU time of a process, by the kernel: in nanoseconds where it tells them, else in ticks."""
    tasks = list(Path(f"/proc/{process}/task").glob("*/schedstat"))
    if tasks:
        return sum(int(task.read_text().split()[0]) for task in tasks) * 1e-9
    text = Path(f"/proc/{process}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def zeros_of(model: edgeinfer.Model) -> dict[str, Any]:
    """An input for every input."""
    return {info.name: np.zeros(info.shape, info.dtype) for info in model.inputs}


def governed(path: Path, budget: float | str) -> GovernedModel:
    """Loaded under a budget, by the model of energy."""
    model = edgeinfer.load(path, power_budget=budget, window="10s", meter="model")
    assert isinstance(model, GovernedModel)
    return model


def budget_of(path: Path, rate: float) -> float:
    """Watts that allow so many runs a second."""
    with governed(path, "1kW") as model:
        account = model.governor.account
        return account.learned.idle + rate * account.joules(0)


def rate_of(path: Path, share: float) -> float:
    """Runs a second that take such a share of a core."""
    with governed(path, "1kW") as model:
        x = zeros_of(model)
        model.run(x)
        start, count = time.thread_time(), 0
        while time.thread_time() - start < 0.5:
            model.run(x)
            count += 1
        return share * count / (time.thread_time() - start)


def child(path: Path, watts: float, rate: float | None) -> None:
    """Run in a loop, or at a rate, and tell how many runs there were when a line is asked for."""
    import threading

    count = 0
    with governed(path, watts) as model:
        x = zeros_of(model)

        def answer() -> None:
            for _ in sys.stdin:
                print(json.dumps({"time": time.monotonic(), "runs": count}), flush=True)
            os._exit(0)

        threading.Thread(target=answer, daemon=True).start()
        following = time.monotonic()
        while True:
            if rate is not None:
                following += 1 / rate
                time.sleep(max(0.0, following - time.monotonic()))
            model.run(x)
            count += 1


class Mark(NamedTuple):
    """What was seen of a child at one moment."""

    time: float
    runs: int
    cpu: float


class Watched:
    """A child process, asked and watched."""

    def __init__(self, path: Path, watts: float, rate: float | None = None) -> None:
        command = [sys.executable, __file__, str(path), "--child", repr(watts)]
        if rate is not None:
            command += ["--rate", repr(rate)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self) -> Mark:
        """The runs that it tells, and its CPU time by the kernel."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Mark(told["time"], told["runs"], cpu_seconds(self._process.pid))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def hold(path: Path, allowed: float, seconds: float) -> int:
    """Watch a governed child beside a reference. Returns the exit code."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children are on the same core
    watts = budget_of(path, allowed)
    children = Watched(path, watts), Watched(path, 1e3, allowed)
    try:
        for each in children:
            each.ask()
        time.sleep(_WARM_SECONDS)
        marks = [tuple(each.ask() for each in children)]
        start = marks[0][0].time
        while marks[-1][0].time - start < seconds - 0.5 * _SLOT:
            time.sleep(max(0.0, start + len(marks) * _SLOT - time.monotonic()))
            marks.append(tuple(each.ask() for each in children))
    finally:
        for each in children:
            each.close()
    return judge(path.name, watts, allowed, [(pair[0], pair[1]) for pair in marks])


class Slot(NamedTuple):
    """Between two marks."""

    rate: float
    cpu: float
    """CPU seconds a second."""
    reference: float
    """CPU seconds of a run of the reference."""

    @property
    def counted(self) -> float:
        """Runs a second, by CPU time."""
        return self.cpu / self.reference


def slot_of(before: tuple[Mark, Mark], after: tuple[Mark, Mark]) -> Slot:
    """What happened between two moments."""
    (first, other), (last, another) = before, after
    passed = last.time - first.time
    return Slot(
        (last.runs - first.runs) / passed,
        (last.cpu - first.cpu) / passed,
        (another.cpu - other.cpu) / max(1, another.runs - other.runs),
    )


def judge(name: str, watts: float, allowed: float, marks: list[tuple[Mark, Mark]]) -> int:
    """Print the slots, and hold them to the promise."""
    slots = [slot_of(*pair) for pair in pairwise(marks)]
    whole = slot_of(marks[0], marks[-1])
    rows = []
    worst = dict.fromkeys(("rate", "cpu", "reference", "counted"), 0.0)
    for i, slot in enumerate(slots):
        cells = [f"{i * _SLOT:.0f} to {(i + 1) * _SLOT:.0f}"]
        for what, text, unit in (
            ("rate", ".3f", 1), ("cpu", ".4f", 1), ("reference", ".4f", 1e3), ("counted", ".3f", 1),
        ):  # fmt: skip
            value, mean = getattr(slot, what), getattr(whole, what)
            off = value / mean - 1
            worst[what] = max(worst[what], abs(off))
            cells += [format(unit * value, text), f"{off:+.2%}"]
        rows.append(cells)
    header = (
        "seconds", "runs/s told", "off", "CPU s/s", "off", "reference, ms a run", "off",
        "runs/s by CPU time", "off",
    )  # fmt: skip
    print(format_table(header, rows, right=range(1, 9)))
    own = whole.cpu / whole.rate - whole.reference
    print(
        f"{name}: {whole.rate:.3f} runs/s in {marks[-1][0].time - marks[0][0].time:.0f} s under "
        f"{watts:.4f} W, which allows {allowed:.3f} ({whole.rate / allowed - 1:+.2%}); "
        f"to hold a run back takes {1e6 * own:.0f} µs"
    )
    wrong = worst["rate"] > _MOST_OFF or worst["counted"] > _MOST_OFF
    wrong |= whole.counted < (1 - _MOST_OFF) * whole.rate
    return int(wrong or whole.rate > allowed)


def cost(path: Path) -> int:
    """What a governor takes: idle, and for each run."""
    with governed(path, "1kW") as model:
        x = zeros_of(model)
        before, start = cpu_seconds(os.getpid()), time.monotonic()
        time.sleep(_COST_SECONDS)
        idle = (cpu_seconds(os.getpid()) - before) / (time.monotonic() - start)
        plain = edgeinfer.load(path)
        times = {"plain": 1.0, "governed": 1.0}
        for _ in range(7):  # in turn; the least of each is least disturbed
            for name, runner in (("plain", plain), ("governed", model)):
                begin = time.thread_time()
                for _ in range(300):
                    runner.run(x)
                times[name] = min(times[name], (time.thread_time() - begin) / 300)
    added = times["governed"] - times["plain"]
    print(f"meter and governor, nothing running: {idle:.3%} of a core")
    print(f"added to a run: {1e6 * added:.1f} µs; at 10 runs/s {10 * added + idle:.3%} of a core")
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help=".edge, .tflite or .onnx")
    parser.add_argument("--rate", type=float, help="runs a second to allow")
    parser.add_argument(
        "--share", type=float, default=0.3, help="of a core that they take, without --rate (0.3)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="watched (60)")
    parser.add_argument("--cost", action="store_true", help="what the governor costs")
    parser.add_argument("--child", type=float, metavar="WATTS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args.model, args.child, args.rate)
        return 0
    if args.cost:
        return cost(args.model)
    rate = rate_of(args.model, args.share) if args.rate is None else args.rate
    return hold(args.model, rate, args.seconds)


if __name__ == "__main__":
    sys.exit(main())
