"""Measure how long a model takes: p50, p90, p99 and the longest run.

Runs the model on one input over and over after a warm-up, each run timed on its own. Times include
the Python call. For figures that can be compared, pin the process to a core for each thread
(taskset -c 0) and let the governor be "performance". The state of the machine is read before, after
and, between runs, meanwhile; a run that heat, power or firmware slowed down is told as such.

--profile says where the time goes: for each step the kernel that runs it and the tier that this is
of, its median time, its share, and what it achieves, also as a share of what this machine reads
from memory and from its last-level cache. One of every eight runs is profiled; the percentiles are
those of the others.

--energy says what a run costs in joules, by the machine's best meter (edgeinfer power lists them)
or, where there is none, by a model of the board, which is marked as such. It runs once more for
that, behind some seconds of idleness.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeinfer.budget import format_bytes
from edgeinfer.cli.arguments import (
    UsageError,
    add_engine_argument,
    add_thread_arguments,
    natural,
    positive_int,
    positive_number,
    positive_seconds,
    refuse_overwriting,
    require_writable,
)
from edgeinfer.cli.progress import Progress
from edgeinfer.errors import UnsupportedError
from edgeinfer.extras import extra
from edgeinfer.printing import format_table, print_json, printable, shortened

if TYPE_CHECKING:
    from edgeinfer.cli.energy import RunEnergy
    from edgeinfer.cli.profiling import StepProfiler
    from edgeinfer.model import Model
    from edgeinfer.session import Array, TensorInfo
    from edgeinfer.system.watch import RunWatch

EXAMPLE = "edgeinfer bench model.edge --profile"
_WARM_UP_SECONDS = 0.2
_MIN_RUNS = 5
_PROFILED_OF = 8  # one of so many runs
_LONG_RUN_NS = 10_000_000  # fills the caches by itself


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
    add_engine_argument(parser)
    add_thread_arguments(parser)
    parser.add_argument("--profile", action="store_true", help="print a table of the steps")
    parser.add_argument(
        "--peak",
        type=positive_number,
        metavar="GMACS",
        help="what the core can do at most, in GMAC/s: adds a column, %% of peak, to --profile",
    )
    parser.add_argument("--energy", action="store_true", help="measure joules per inference")
    parser.add_argument(
        "--meter",
        metavar="NAME",
        help="measure --energy by this meter (edgeinfer power lists them); or a constant: 6.5W",
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="write profiled runs as JSON for ui.perfetto.dev"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    import edgeinfer
    from edgeinfer.cli.system_text import condition_lines
    from edgeinfer.system.watch import RunWatch, warnings_before

    if args.engine and (args.profile or args.trace or args.energy):
        raise UnsupportedError(
            f"--engine {args.engine} has no clock for steps, which --profile and --trace show, and "
            "no model of its --energy: leave one of them out"
        )
    if args.meter and not args.energy:
        raise UsageError("--meter says by what --energy is measured: give --energy too")
    if args.trace:
        refuse_overwriting(Path(args.trace), Path(args.model))
        require_writable(Path(args.trace))
    start = time.perf_counter()
    with edgeinfer.load(
        args.model,
        threads=args.threads,
        tier=args.tier,
        engine=args.engine,
        cpus=args.cpus,
        performance_cores=args.performance_cores,
    ) as model:
        load_ms = (time.perf_counter() - start) * 1e3
        rng = np.random.default_rng(args.seed)
        inputs = {info.name: random_input(info, rng) for info in model.inputs}
        outputs = {info.name: np.empty(info.shape, info.dtype) for info in model.outputs}
        profiler = None
        if args.profile or args.trace:
            from edgeinfer.cli.profiling import StepProfiler

            profiler = StepProfiler(model)
        watch = RunWatch()
        for warning in () if args.json else warnings_before(watch.before):
            print(f"warning: {printable(warning)}", file=sys.stderr)
        with Progress() as progress:
            times, profiled = _measure(
                lambda: model.run_into(outputs, inputs),
                args.seconds,
                args.runs,
                progress,
                profiler,
                watch,
            )
        conditions = watch.finish()
        session_bytes = model.session_bytes
        energy = None
        if args.energy:
            energy = _measure_energy(args, lambda: model.run_into(outputs, inputs), model)
        result: dict[str, Any] = {
            "model": model.name,
            "tier": model.tier,
            "threads": model.threads,
            "runs": len(times),
            "p50_us": float(np.percentile(times, 50)),
            "p90_us": float(np.percentile(times, 90)),
            "p99_us": float(np.percentile(times, 99)),
            "max_us": float(np.max(times)),
            "load_ms": load_ms,
            "session_bytes": session_bytes,
            "machine": conditions.as_dict(),
        }
        if profiler is not None:
            from edgeinfer.cli.profiling import profile_rows, write_trace
            from edgeinfer.cli.read_bandwidth import measure_read_bandwidth

            result["profiled_runs"] = profiler.runs
            result["profiled_p50_us"] = float(np.percentile(profiled, 50))
            if args.profile:
                bandwidth = measure_read_bandwidth(model.threads)
                result["read_bandwidth"] = asdict(bandwidth)
                result["steps"] = profile_rows(
                    profiler.costs, profiler.medians_us().tolist(), args.peak, bandwidth
                )
            if args.trace:
                write_trace(Path(args.trace), profiler, model.name)
    if energy is not None:
        result["energy"] = energy.as_dict()
    if args.json:
        print_json(result)
        return 0
    threads = f", {result['threads']} threads" if args.threads > 1 else ""
    if result["threads"] < args.threads:
        threads = f", 1 thread ({args.threads} asked for; no step is long enough to be shared)"
    print(f"{result['model']}: tier {result['tier']}{threads}, {result['runs']:,} runs")
    for key in ("p50", "p90", "p99", "max"):
        print(f"  {key:<4} {result[f'{key}_us']:12,.1f} µs")
    print(f"  load {load_ms:12,.2f} ms, session {format_bytes(session_bytes)}")
    print("\n".join(condition_lines(conditions)))
    if energy is not None:
        from edgeinfer.cli.energy import energy_lines

        print("\n".join(energy_lines(energy)))
    if args.profile:
        _print_profile(result)
    if energy is not None:
        from edgeinfer.cli.energy import energy_table

        print(f"\n{energy_table(energy, everything=args.profile)}")
    return 0


def _measure_energy(args: argparse.Namespace, call: Callable[[], None], model: Model) -> RunEnergy:
    from edgeinfer.cli.energy import measure_energy

    with extra("--energy", "edgeinfer-power", "power"):
        from edgeinfer.power import best_meter, profile_of_machine, why_unmetered

    meter = best_meter(name=args.meter)
    is_asked_for = args.meter is not None
    reason = "" if is_asked_for or meter.source != "model" else why_unmetered()
    with Progress() as progress:
        found = measure_energy(
            call, model.step_costs, meter, profile_of_machine(), args.seconds, progress
        )
    return replace(found, reason=reason)


def _print_profile(result: dict[str, Any]) -> None:
    steps = result["steps"]
    with_peak = any("share_of_peak" in row for row in steps)
    header = ["step", "node", "operator", "kernel", "µs", "%", "GMAC/s"]
    header += ["% of peak"] if with_peak else []
    header += ["GB/s", "% of memory", "% of cache", "bytes", "weights"]
    rows = []
    for row in steps:
        cells = [row["step"], shortened(row["node"], 40), row["operator"], row["kernel"]]
        cells += [f"{row['us']:,.2f}", f"{100 * row['share']:.1f}"]
        cells += [f"{row['gmacs']:.1f}" if row["macs"] else ""]
        if with_peak:
            cells += [f"{100 * row['share_of_peak']:.0f}" if row["macs"] else ""]
        cells += [f"{row['gb_per_s']:.1f}"]
        cells += [_percent(row["share_of_memory"]), _percent(row["share_of_cache"])]
        cells += [f"{row['bytes']:,}", f"{row['weight_bytes']:,}" if row["weight_bytes"] else ""]
        rows.append(cells)
    numbers = range(4, len(header))
    print(f"\n{format_table(header, rows, right=(0, *numbers))}")
    total = sum(row["us"] for row in steps)
    longer = 100 * (result["profiled_p50_us"] / result["p50_us"] - 1)
    print(
        f"\n{len(steps)} steps, {total:,.2f} µs without the call from Python; medians of "
        f"{result['profiled_runs']:,} profiled runs, which took {longer:.1f} % longer than others"
    )
    print(_reads_text(result["read_bandwidth"]))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def _reads_text(bandwidth: dict[str, Any]) -> str:
    """What the machine reads, in words."""
    threads = (
        "1 thread reads" if bandwidth["threads"] == 1 else f"{bandwidth['threads']} threads read"
    )
    known = [
        f"{bandwidth[key]:.1f} GB/s from {name}"
        for key, name in (("memory", "memory"), ("cache", "the last-level cache"))
        if bandwidth[key] is not None
    ]
    return f"{threads} {' and '.join(known) or 'at a rate that could not be measured'} here"


def random_input(info: TensorInfo, rng: np.random.Generator) -> Array:
    """Values over the whole range of a quantised input; standard normal for a float one.

    Plain integers of 32 and 64 bits are 0 and 1: they are indices, token ids and masks as a rule,
    and a model refuses an index that is out of range.
    """
    if info.dtype.kind == "i" and info.dtype.itemsize >= 4 and not info.is_quantized:
        return rng.integers(0, 2, info.shape, info.dtype)
    if info.dtype.kind in "iu":
        limits = np.iinfo(info.dtype)
        return rng.integers(limits.min, limits.max, info.shape, info.dtype, endpoint=True)
    if info.dtype.kind == "b":
        return rng.integers(0, 2, info.shape).astype(np.bool_)
    return rng.standard_normal(info.shape).astype(info.dtype)


def _measure(
    call: Callable[[], None],
    seconds: float,
    runs: int | None,
    progress: Progress,
    profiler: StepProfiler | None,
    watch: RunWatch,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Microseconds of each run, and of each profiled one."""
    progress.stage("warming up")
    warm_up_end = time.perf_counter() + _WARM_UP_SECONDS
    call()
    while runs is None and time.perf_counter() < warm_up_end:
        call()
    times: list[int] = []
    profiled: list[int] = []
    start = time.perf_counter()
    end = start + seconds
    wanted = f"{seconds:g} s" if runs is None else f"{runs:,} runs"
    while (
        (len(times) < runs)
        if runs is not None
        else (len(times) < _MIN_RUNS or time.perf_counter() < end)
    ):
        if watch.is_due:
            watch.sample()
            if not times or times[-1] < _LONG_RUN_NS:
                call()  # what the sample put out of the caches is back when the next run is timed
        if profiler is not None and len(times) % (_PROFILED_OF - 1) == 0:
            profiled.append(_profiled_run(call, profiler))
        before = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - before)
        elapsed = time.perf_counter() - start
        progress.count(f"measuring {wanted}: {elapsed:.1f} s, {len(times):,} runs")
    while profiler is not None and profiler.needs_time:
        profiled.append(_profiled_run(call, profiler))
    return np.array(times) / 1e3, np.array(profiled) / 1e3


def _profiled_run(call: Callable[[], None], profiler: StepProfiler) -> int:
    """Nanoseconds of a run whose steps are timed."""
    profiler.start()
    before = time.perf_counter_ns()
    call()
    taken = time.perf_counter_ns() - before
    profiler.stop()
    return taken
