"""Measure how long a model takes: p50, p90, p99 and the longest run.

Runs the model on one input over and over after a warm-up, each run timed on its own. Times include
the Python call. For figures that can be compared, pin the process to a core (taskset -c 0).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeinfer.budget import format_bytes
from edgeinfer.cli.arguments import natural, positive_int, positive_seconds
from edgeinfer.cli.progress import Progress
from edgeinfer.cli.text import print_json

if TYPE_CHECKING:
    from edgeinfer.session import Array, TensorInfo

EXAMPLE = "edgeinfer bench model.edge --seconds 5"
_WARM_UP_SECONDS = 0.2
_MIN_RUNS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".edge file (or .tflite, .onnx)")
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=2.0,
        metavar="S",
        help="how long to measure (default 2)",
    )
    parser.add_argument(
        "--runs", type=positive_int, metavar="N", help="exactly so many runs instead"
    )
    parser.add_argument("--seed", type=natural, default=0, help="seed of the random input")
    parser.add_argument("--tier", help="kernel tier, e.g. scalar")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    import edgeinfer

    start = time.perf_counter()
    with edgeinfer.load(args.model, tier=args.tier) as model:
        load_ms = (time.perf_counter() - start) * 1e3
        rng = np.random.default_rng(args.seed)
        inputs = {info.name: random_input(info, rng) for info in model.inputs}
        outputs = {info.name: np.empty(info.shape, info.dtype) for info in model.outputs}
        with Progress() as progress:
            times = _measure(
                lambda: model.run_into(outputs, inputs), args.seconds, args.runs, progress
            )
        session_bytes = model.plan.session_bytes
        result = {
            "model": model.name,
            "tier": model.tier,
            "runs": len(times),
            "p50_us": float(np.percentile(times, 50)),
            "p90_us": float(np.percentile(times, 90)),
            "p99_us": float(np.percentile(times, 99)),
            "max_us": float(np.max(times)),
            "load_ms": load_ms,
            "session_bytes": session_bytes,
        }
    if args.json:
        print_json(result)
        return 0
    print(f"{result['model']}: tier {result['tier']}, {result['runs']:,} runs")
    for key in ("p50", "p90", "p99", "max"):
        print(f"  {key:<4} {result[f'{key}_us']:12,.1f} µs")
    print(f"  load {load_ms:12,.2f} ms, session {format_bytes(session_bytes)}")
    return 0


def random_input(info: TensorInfo, rng: np.random.Generator) -> Array:
    """Values over the whole range of an integer input; standard normal for a float one."""
    if info.dtype.kind in "iu":
        limits = np.iinfo(info.dtype)
        return rng.integers(limits.min, limits.max, info.shape, info.dtype, endpoint=True)
    if info.dtype.kind == "b":
        return rng.integers(0, 2, info.shape).astype(np.bool_)
    return rng.standard_normal(info.shape).astype(info.dtype)


def _measure(
    call: Callable[[], None], seconds: float, runs: int | None, progress: Progress
) -> npt.NDArray[np.float64]:
    """Microseconds of each run."""
    progress.stage("warming up")
    warm_up_end = time.perf_counter() + _WARM_UP_SECONDS
    call()
    while runs is None and time.perf_counter() < warm_up_end:
        call()
    times: list[int] = []
    start = time.perf_counter()
    end = start + seconds
    wanted = f"{seconds:g} s" if runs is None else f"{runs:,} runs"
    while (
        (len(times) < runs)
        if runs is not None
        else (len(times) < _MIN_RUNS or time.perf_counter() < end)
    ):
        before = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - before)
        elapsed = time.perf_counter() - start
        progress.count(f"measuring {wanted}: {elapsed:.1f} s, {len(times):,} runs")
    return np.array(times) / 1e3
