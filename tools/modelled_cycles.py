"""How well the energy model knows the work: cycles that it reckons against cycles that runs take.

    python tools/modelled_cycles.py model.tflite ... --ghz 2.2 [--profile generic-x86]

A profile's energies are cycles times the energy of a cycle (edgeinfer/power/device_energy.py). The
energy of a cycle takes a power meter to check; the cycles only a clock. CPU time of single runs,
the fifth quickest of all.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import edgeinfer  # noqa: E402
from edgeinfer.power import PROFILES  # noqa: E402
from edgeinfer.power.device_energy import CYCLES_PER_STEP  # noqa: E402
from edgeinfer.printing import format_table  # noqa: E402


def cycles_of(model: edgeinfer.Model, ghz: float, seconds: float) -> float:
    """Cycles of a run on this machine."""
    inputs = {info.name: np.zeros(info.shape, info.dtype) for info in model.inputs}
    outputs = {info.name: np.empty(info.shape, info.dtype) for info in model.outputs}
    nanoseconds: list[int] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(nanoseconds) < 5:
        before = time.thread_time_ns()
        model.run_into(outputs, inputs)
        nanoseconds.append(time.thread_time_ns() - before)
    return float(np.percentile(nanoseconds, 20)) * ghz


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help=".edge, .tflite or .onnx files")
    parser.add_argument("--ghz", type=float, required=True, help="clock of the core that runs")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="generic-x86")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each (default 2)")
    args = parser.parse_args(arguments)
    profile = PROFILES[args.profile]
    per_cycle = profile.step_joules / CYCLES_PER_STEP
    rows = []
    for path in args.models:
        with edgeinfer.load(path) as model:
            modelled = profile.of_run(model.step_costs) / per_cycle
            taken = cycles_of(model, args.ghz, args.seconds)
        rows.append([path.stem, f"{taken / 1e3:,.0f}", f"{modelled / 1e3:,.0f}",
                     f"{modelled / taken:.2f}"])  # fmt: skip
    header = ["model", "1000 cycles", "modelled", "modelled / taken"]
    print(format_table(header, rows, right=(1, 2, 3)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
