"""Time edgeinfer against the runtimes that are installed, in turn, on one pinned core.

    python tools/bench_peers.py kws.tflite resnet50 --json results.json --plot results.svg

`resnet50` and `mobilenet_v2_onnx` are built on the spot (tools/reference_models.py): quantised,
and with `_float` behind the name in float32. LiteRT runs a .tflite model, onnxruntime an .onnx one
(for a .tflite model the .onnx of the same name beside it), OpenVINO both, ncnn the .param of the
same name: built models get one (tools/ncnn_model.py), for others ncnn has no quantised form. A
runtime that is missing, or that refuses a model, is left out, and a line says why.

Clocks differ from moment to moment and from machine to machine, ratios much less: runtimes take
turns of a few milliseconds, a ratio is made of neighbouring turns, and what is printed is the
median over all of them. Below 1 edgeinfer is faster. p99 is that of single runs. Turns and runs
during which another process had the core do not count.

edgeinfer's time is that of ei_session_run, called through cffi on the session's own buffers; the
peers' that of their cheapest call (tools/peers.py). The peak is what the core's int8 instruction
can do, or its fused multiply-add where a model computes in float32, measured in turn as well
(tools/peak_int8.c, which needs a C compiler). Loading and memory:
tools/load_cost.py.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import edgeinfer
from edgeinfer._ffi import check, ffi, lib
from edgeinfer.cli.arguments import positive_int, positive_seconds
from edgeinfer.convert import convert
from edgeinfer.convert.read import read_model
from edgeinfer.errors import EdgeInferError
from edgeinfer.printing import format_table
from edgeinfer.step_costs import count_macs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.compare import Difference, compare, differences_of, random_feeds  # noqa: E402
from tools.load_cost import CannotLoad, load_in_a_process  # noqa: E402
from tools.peers import PEERS, Ncnn, Peer  # noqa: E402
from tools.plot_peers import plot_results  # noqa: E402
from tools.reference_models import (  # noqa: E402
    FLOAT_MODELS,
    REFERENCE_MODELS,
    build_float_file,
    build_ncnn_model,
    build_reference_model,
    random_images,
)

_TURN_SECONDS = 0.004
_ATTEMPTS = 8
_COMPARED_INPUTS = 4
_SINGLE_RUNS = 2000
_SINGLE_RUN_SECONDS = 1.0
_FLOAT_PRODUCTS = ("conv2d_f32", "fully_connected_f32", "batch_matmul_f32")
_EXTRA_BYTES = 1 << 20  # what edgeinfer may take beside the file and the plan


@dataclass
class LoadCost:
    """Loading one model, as tools/load_cost.py says, and the bound of memory where there is one."""

    load_ms: float
    rss_bytes: float
    own_bytes: float
    peak_bytes: float
    bound_bytes: int | None = None


@dataclass
class Result:
    """One model: medians in microseconds, and how edgeinfer's relate to each peer's."""

    model: str
    tier: str
    threads: int
    mmac: float
    peak_gmacs: float | None = None  # of one core, in the turns of this model
    share_of_peak: float | None = None
    p50_us: float = math.nan
    p99_us: float = math.nan
    peers_us: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    differences: dict[str, str] = field(default_factory=dict)
    loads: dict[str, LoadCost] = field(default_factory=dict)

    @property
    def gmacs(self) -> float:
        """GMAC/s."""
        return self.mmac / self.p50_us * 1e3

    @property
    def best_peer(self) -> str | None:
        """The fastest one."""
        return max(self.ratios, key=self.ratios.__getitem__, default=None)


def find_model(model: str, cache: Path) -> Path:
    """The file of a name or path given on the command line."""
    if model in FLOAT_MODELS:
        return build_float_file(model, cache)
    if model not in REFERENCE_MODELS:
        return Path(model)
    if _is_installed("ncnn"):
        build_ncnn_model(model, cache)
    return build_reference_model(model, cache)


def _is_installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def peer_files(path: Path) -> dict[str, Path]:
    """The file that each runtime reads this model from, of those that can."""
    files = {}
    for runtime, (_, suffix) in PEERS.items():
        file = path.with_suffix(suffix) if suffix else path
        if file.exists():
            files[runtime] = file
    return files


def load_peers(path: Path, feed: list[np.ndarray], threads: int) -> dict[str, Peer]:
    """The installed runtimes that can run this model, having run it once."""
    peers: dict[str, Peer] = {}
    for runtime, file in peer_files(path).items():
        try:
            peer = PEERS[runtime][0](file, threads=threads)
            peer.run(feed)
        except ImportError:
            print(f"{path.stem}: {runtime} is not installed", file=sys.stderr)
        except Exception as error:  # whatever a runtime raises for a model that it does not take
            print(f"{path.stem}: {runtime} cannot run it: {error}", file=sys.stderr)
        else:
            peers[runtime] = peer
    return peers


def measure(path: Path, args: argparse.Namespace, folder: Path, peaks: Peaks | None) -> Result:
    """Time one model."""
    edge = folder / f"{path.stem}.edge"
    convert(path).save(edge)
    model = edgeinfer.load(edge, tier=args.tier, threads=args.threads)
    feed, *others = _feeds(path, model)
    peers = load_peers(path, feed, args.threads)
    program = read_model(edge.read_bytes()).programs[0]
    macs = count_macs(program)
    in_float = any(node.operator in _FLOAT_PRODUCTS for node in program.nodes)
    peak = None if peaks is None else peaks.of_floats if in_float else peaks.of_integers
    result = Result(path.stem, model.tier, args.threads, macs / 1e6)
    for name, peer in peers.items():
        result.differences[name] = _difference(model, peer, others, edge.read_bytes())
        peer.run(feed)
    session = model.session()
    arrays = [np.ascontiguousarray(array) for array in feed]
    inputs = _fill_inputs(session, arrays)
    # Bound beforehand: what Python adds to a call of microseconds is not what is measured here.
    run = partial(lib().ei_session_run, session._session, inputs, ffi.NULL)
    check(run())
    turns: list[Callable[[], object]] = [run, *(p.invoke for p in peers.values())]
    times, reached = _in_turn(turns, peak, args.seconds)
    if reached:
        result.peak_gmacs = float(np.median(reached))
        shares = result.mmac * 1e3 / np.multiply(times[0], reached)
        result.share_of_peak = float(np.median(shares)) / args.threads
    result.p50_us = float(np.median(times[0]))
    result.p99_us = float(np.percentile(_single_runs(run), 99))
    for name, theirs in zip(peers, times[1:], strict=True):
        result.peers_us[name] = float(np.median(theirs))
        result.ratios[name] = float(np.median(np.divide(times[0], theirs)))
    if not args.no_load:
        result.loads = _load_costs(path, edge, feed, model.plan, list(peers), args.threads)
    return result


def _feeds(path: Path, model: edgeinfer.Model) -> list[list[np.ndarray]]:
    """Inputs: one to time with, others to compare results on."""
    if path.stem in (*REFERENCE_MODELS, *FLOAT_MODELS):  # what they were calibrated for
        return [[image] for image in random_images(1 + _COMPARED_INPUTS, seed=77)]
    return list(random_feeds(model.inputs, 1 + _COMPARED_INPUTS, seed=0))


def _difference(
    model: edgeinfer.Model, peer: Peer, feeds: list[list[np.ndarray]], edge: bytes
) -> str:
    """How far the outputs are from the peer's: a fast wrong answer is worth nothing."""
    found = compare(model, peer, iter(feeds), differences_of(edge))
    own = ", having quantised the network its own way" if isinstance(peer, Ncnn) else ""
    return "; ".join(map(_describe, found)) + own


def _describe(found: Difference) -> str:
    unit = "of the value's unit" if found.step is None else "quantised steps"
    top1 = f", same top-1 in {found.same_top1} of {found.rows}" if found.rows else ""
    return (
        f"{found.differ} of {found.values} values differ, by at most {found.largest:.4g} {unit}"
        f"{top1}"
    )


def _fill_inputs(session: edgeinfer.Session, arrays: list[np.ndarray]) -> Any:
    """What a run is given: the session's own buffers; the arrays, where it holds some rows only."""
    inputs = ffi.new("const void *[]", max(1, len(arrays)))
    for i, array in enumerate(arrays):
        own = lib().ei_session_input(session._session, i)
        if own == ffi.NULL:
            inputs[i] = ffi.cast("void *", array.ctypes.data)
        else:
            ffi.memmove(own, ffi.from_buffer(array), array.nbytes)
    return inputs


def _in_turn(
    turns: list[Callable[[], object]], peak: Callable[[], float] | None, seconds: float
) -> tuple[list[list[float]], list[float]]:
    """Microseconds per call, of each function in each round, and what the core could do then."""
    counts = []
    for turn in turns:
        turn()
        start = time.perf_counter()
        turn()
        counts.append(max(1, int(_TURN_SECONDS / (time.perf_counter() - start))))
    times: list[list[float]] = [[] for _ in turns]
    peaks: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for turn, count, taken in zip(turns, counts, times, strict=True):
            taken.append(_undisturbed(turn, count) / count * 1e6)
        if peak is not None:
            peaks.append(peak())
    return times, peaks


def _undisturbed(turn: Callable[[], object], count: int) -> float:
    """Seconds of `count` calls during which no other process was given the core.

    The shortest of a few attempts where one always was, as on a machine with nothing to spare.
    """
    shortest = math.inf
    for _ in range(_ATTEMPTS):
        turn()  # the caches are still another runtime's
        switches = _preemptions()
        start = time.perf_counter()
        for _ in range(count):
            turn()
        shortest = min(shortest, time.perf_counter() - start)
        if _preemptions() == switches:
            break
    return shortest


def _preemptions() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _single_runs(run: Callable[[], object]) -> list[float]:
    """Microseconds of runs that are timed one by one; not those that lost the core meanwhile."""
    times: list[float] = []
    all_times: list[float] = []
    end = time.perf_counter() + _SINGLE_RUN_SECONDS
    while len(times) < _SINGLE_RUNS and time.perf_counter() < end:
        switches = _preemptions()
        start = time.perf_counter()
        run()
        all_times.append((time.perf_counter() - start) * 1e6)
        if _preemptions() == switches:
            times.append(all_times[-1])
    return times or all_times


def _load_costs(
    path: Path,
    edge: Path,
    feed: list[np.ndarray],
    plan: Any,
    peers: list[str],
    threads: int,
) -> dict[str, LoadCost]:
    """What tools/load_cost.py finds, for edgeinfer and each peer, in a process for each."""
    files = {"edgeinfer": edge} | {name: peer_files(path)[name] for name in peers}
    costs = {}
    for runtime, file in files.items():
        try:
            costs[runtime] = LoadCost(**load_in_a_process(runtime, file, feed, threads))  # type: ignore[arg-type]
        except CannotLoad as error:
            print(f"{path.stem}: loading with {runtime} failed: {error}", file=sys.stderr)
    if "edgeinfer" in costs:
        costs["edgeinfer"].bound_bytes = edge.stat().st_size + plan.session_bytes + _EXTRA_BYTES
    return costs


@dataclass
class Peaks:
    """Functions that measure GMAC/s of this core: of its int8 instruction, and in float32."""

    of_integers: Callable[[], float]
    of_floats: Callable[[], float]


def build_peak(folder: Path) -> Peaks | None:
    """What this core can do.

    None without a compiler or on CPUs that tools/peak_int8.c does not know.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "peak.so"
    command = [compiler, "-O2", "-shared", "-fPIC", str(ROOT / "tools" / "peak_int8.c")]
    if subprocess.run([*command, "-o", str(library)], capture_output=True).returncode:
        return None
    functions = ctypes.CDLL(str(library))
    peaks = Peaks(functions.peak_gmacs, functions.peak_float_gmacs)
    functions.peak_gmacs.restype = functions.peak_float_gmacs.restype = ctypes.c_double
    return peaks if peaks.of_integers() > 0 and peaks.of_floats() > 0 else None


def print_results(results: list[Result]) -> None:
    """As tables: speed, then loading, then how far the results are from each other."""
    names = [name for name in PEERS if any(name in r.peers_us for r in results)]
    header = ["model", "MMAC", "p50 µs", "p99 µs", "GMAC/s", "% of peak"]
    header += [cell for name in names for cell in (f"{name} µs", "ratio")]
    header += ["to the best"]
    rows = []
    for r in results:
        share = f"{100 * r.share_of_peak:.0f}" if r.share_of_peak else "-"
        row = [r.model, f"{r.mmac:,.2f}", f"{r.p50_us:,.1f}", f"{r.p99_us:,.1f}"]
        row += [f"{r.gmacs:.1f}", share]
        for name in names:
            known = name in r.peers_us
            row += [f"{r.peers_us[name]:,.1f}", f"{r.ratios[name]:.2f}"] if known else ["-", "-"]
        best = r.best_peer
        rows.append([*row, f"{r.ratios[best]:.2f} {best}" if best else "-"])
    print(format_table(header, rows, right=range(1, len(header) - 1)))
    print()
    _print_loads(results, names)
    for r in results:
        for name, difference in r.differences.items():
            print(f"{r.model} against {name}: {difference}")
    peaks = [r.peak_gmacs for r in results if r.peak_gmacs]
    measured = f"{min(peaks):.0f} to {max(peaks):.0f} GMAC/s" if peaks else "not measured"
    threads = results[0].threads
    print(f"\ntier {results[0].tier}, threads {threads}, peak of a core: {measured}")


def _print_loads(results: list[Result], names: list[str]) -> None:
    if not any(r.loads for r in results):
        return
    header = ["model"]
    header += [f"{name} ms" for name in ("edgeinfer", *names)]
    header += ["edgeinfer KiB", "bound KiB", *(f"{name} KiB" for name in names)]
    rows = []
    for r in results:
        costs = [r.loads.get(name) for name in ("edgeinfer", *names)]
        row = [r.model, *(f"{cost.load_ms:.3f}" if cost else "-" for cost in costs)]
        memory = [f"{cost.rss_bytes / 1024:,.0f}" if cost else "-" for cost in costs]
        bound = costs[0].bound_bytes if costs[0] else None
        memory.insert(1, f"{bound / 1024:,.0f}" if bound else "-")
        rows.append(row + memory)
    print("loading, and the memory that the process grows by (load and one run):")
    print(format_table(header, rows, right=range(1, len(header))), end="\n\n")


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f".tflite or .onnx file, or one of {', '.join([*REFERENCE_MODELS, *FLOAT_MODELS])}",
    )
    parser.add_argument("--tier", help="kernel tier; default: the fastest")
    parser.add_argument("--threads", type=positive_int, default=1, help="of every runtime")
    parser.add_argument(
        "--seconds", type=positive_seconds, default=3.0, help="per model (default 3)"
    )
    parser.add_argument(
        "--core", type=int, help="first core to pin to, one for each thread; default: the last ones"
    )
    parser.add_argument("--no-load", action="store_true", help="leave out loading and memory")
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="where built models are kept; default: nowhere, they are made again each time",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the times as .svg or .png; needs matplotlib"
    )
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        first = len(cores) - args.threads if args.core is None else cores.index(args.core)
        os.sched_setaffinity(0, set(cores[max(first, 0) :][: args.threads]))
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        peaks = build_peak(Path(temporary))
        for model in args.models:
            path = find_model(model, args.cache or Path(temporary))
            try:
                results.append(measure(path, args, Path(temporary), peaks))
            except (EdgeInferError, OSError) as error:
                raise SystemExit(f"bench_peers: {model}: {error}") from error
    print_results(results)
    content = {"models": [asdict(result) for result in results]}
    if args.json:
        args.json.write_text(json.dumps(content, indent=2) + "\n")
    if args.plot:
        plot_results(content, args.plot)


if __name__ == "__main__":
    main()
