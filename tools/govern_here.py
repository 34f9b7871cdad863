"""A governed run on this machine, watched from outside; and what the governor costs.

    python tools/govern_here.py model.tflite [--rate 30] [--seconds 60]
    python tools/govern_here.py model.tflite --cost

A child process loads the model under a power budget that allows `--rate` runs a second by the
modelled meter, and runs it in a loop. This process reads the child's CPU time from
/proc/PID, which the governor has no part in. The rate, and the CPU time of each slot of ten
seconds, are to stay within 3 % of their means, and the rate below what the budget allows; else the
exit code is 1. The machine has to be quiet: what a run takes changes with what runs beside it.

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
from typing import Any

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


def child(path: Path, watts: float) -> None:
    """Run in a loop, and tell how many runs there were whenever a line is asked for."""
    import threading

    count = 0
    with governed(path, watts) as model:
        x = zeros_of(model)

        def answer() -> None:
            for _ in sys.stdin:
                print(json.dumps({"time": time.monotonic(), "runs": count}), flush=True)
            os._exit(0)

        threading.Thread(target=answer, daemon=True).start()
        while True:
            model.run(x)
            count += 1


def hold(path: Path, allowed: float, seconds: float) -> int:
    """Watch a governed child. Returns the exit code."""
    watts = budget_of(path, allowed)
    command = [sys.executable, __file__, str(path), "--child", repr(watts)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask() -> tuple[float, int, float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            told = json.loads(process.stdout.readline())
            return told["time"], told["runs"], cpu_seconds(process.pid)

        ask()
        time.sleep(_WARM_SECONDS)
        marks = [ask()]
        while marks[-1][0] - marks[0][0] < seconds - 0.5 * _SLOT:
            time.sleep(max(0.0, marks[0][0] + len(marks) * _SLOT - time.monotonic()))
            marks.append(ask())
        process.stdin.close()
        process.wait(10)
    return judge(path.name, watts, allowed, marks)


def judge(name: str, watts: float, allowed: float, marks: list[tuple[float, int, float]]) -> int:
    """Print the slots, and hold them to the promise."""
    slots = [
        ((r1 - r0) / (t1 - t0), (c1 - c0) / (t1 - t0))
        for (t0, r0, c0), (t1, r1, c1) in pairwise(marks)
    ]
    passed = marks[-1][0] - marks[0][0]
    rate = (marks[-1][1] - marks[0][1]) / passed
    cpu = (marks[-1][2] - marks[0][2]) / passed
    rows = [
        (f"{i * _SLOT:.0f} to {(i + 1) * _SLOT:.0f}", f"{r:.3f}", f"{r / rate - 1:+.2%}",
         f"{c:.4f}", f"{c / cpu - 1:+.2%}")
        for i, (r, c) in enumerate(slots)
    ]  # fmt: skip
    header = ("seconds", "runs/s", "off the mean", "CPU s/s from outside", "off the mean")
    print(format_table(header, rows, right=range(1, 5)))
    print(
        f"{name}: {rate:.3f} runs/s in {passed:.0f} s under {watts:.4f} W, which allows "
        f"{allowed:.3f} ({rate / allowed - 1:+.2%}); {1e3 * cpu / rate:.3f} ms of CPU a run"
    )
    wrong = max(abs(r / rate - 1) for r, _ in slots) > _MOST_OFF
    wrong |= max(abs(c / cpu - 1) for _, c in slots) > _MOST_OFF
    wrong |= rate > allowed
    return int(wrong)


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
    parser.add_argument("--rate", type=float, default=30.0, help="runs a second to allow (30)")
    parser.add_argument("--seconds", type=float, default=60.0, help="watched (60)")
    parser.add_argument("--cost", action="store_true", help="what the governor costs")
    parser.add_argument("--child", type=float, metavar="WATTS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args.model, args.child)
        return 0
    return cost(args.model) if args.cost else hold(args.model, args.rate, args.seconds)


if __name__ == "__main__":
    sys.exit(main())
