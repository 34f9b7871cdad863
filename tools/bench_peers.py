"""Time edgeinfer against the runtimes that are installed, in turn, on one pinned core.

    python tools/bench_peers.py kws.tflite resnet50 --json results.json

`resnet50` and `mobilenet_v2_onnx` are built on the spot (tools/reference_models.py). A .tflite
model also runs on LiteRT, and on onnxruntime when an .onnx file of the same name lies beside it; an
.onnx model runs on onnxruntime. One thread each. Clocks differ from moment to moment and from
machine to machine, ratios much less: runtimes take turns of a few milliseconds, a ratio is made of
neighbouring turns, and what is printed is the median over all of them.

edgeinfer's time is that of ei_session_run, called through cffi on the session's own buffers;
LiteRT's that of invoke(), onnxruntime's that of run(). The peak is what this core's int8
instruction can do (tools/peak_int8.c, which needs a C compiler).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer._ffi import check, ffi, lib
from edgeinfer.cli.text import format_table
from edgeinfer.convert import convert
from edgeinfer.convert.program import Operation, Program
from edgeinfer.errors import EdgeInferError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.compare import (  # noqa: E402
    Difference,
    LiteRT,
    OnnxRuntime,
    Peer,
    compare,
    differences_of,
    random_feeds,
)
from tools.reference_models import REFERENCE_MODELS, build_reference_model  # noqa: E402

_TURN_SECONDS = 0.004
_COMPARED_INPUTS = 4
_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")


@dataclass
class Result:
    """One model: medians in microseconds, and how edgeinfer's relate to each peer's."""

    model: str
    tier: str
    mmac: float
    us: float = math.nan
    peers_us: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    differences: dict[str, str] = field(default_factory=dict)

    @property
    def gmacs(self) -> float:
        """GMAC/s."""
        return self.mmac / self.us * 1e3


def count_macs(program: Program) -> int:
    """Multiplications of convolutions and fully connected layers."""
    return sum(_macs(operation) for operation in program.operations)


def _macs(operation: Operation) -> int:
    outputs = math.prod(operation.output.shape)
    if operation.operator in _CONVOLUTIONS:
        params = operation.params
        taps = int(params["kernel_h"]) * int(params["kernel_w"])
        if operation.operator == "depthwise_conv2d":
            return outputs * taps
        return outputs * taps * operation.inputs[0].shape[3] // int(params["groups"])
    if operation.operator == "fully_connected":
        return outputs * operation.inputs[0].shape[-1]
    return 0


def find_model(model: str, cache: Path) -> Path:
    """The file of a name or path given on the command line."""
    return build_reference_model(model, cache) if model in REFERENCE_MODELS else Path(model)


def find_peers(path: Path) -> list[Peer]:
    """The installed runtimes that can run this model."""
    peers: list[Peer] = []
    onnx = path.with_suffix(".onnx")
    for source, make in ((path, LiteRT), (onnx, OnnxRuntime)):
        if source.exists() and (source.suffix == ".onnx") == (make is OnnxRuntime):
            try:
                peers.append(make(source.read_bytes()))
            except ImportError:
                print(f"{source.name}: {make.__name__} is not installed", file=sys.stderr)
    return peers


def measure(path: Path, tier: str | None, seconds: float) -> Result:
    """Time one model."""
    conversion = convert(path)
    model = edgeinfer.load(conversion.data, tier=tier)
    feed = next(random_feeds(model.inputs, 1, seed=0))
    peers = find_peers(path)
    differences = {peer.name: _difference(model, peer, conversion.data) for peer in peers}
    for peer in peers:
        peer.run(feed)
    session = model.session()
    _fill_inputs(session, feed)
    # Bound beforehand: what Python adds to a call of microseconds is not what is measured here.
    run = partial(lib().ei_session_run, session._session, ffi.NULL, ffi.NULL)
    check(run())
    turns: list[Callable[[], object]] = [run, *(p.invoke for p in peers)]
    times = _in_turn(turns, seconds)
    result = Result(path.stem, model.tier, count_macs(conversion.programs[0]) / 1e6)
    result.us = float(np.median(times[0]))
    result.differences = differences
    for peer, theirs in zip(peers, times[1:], strict=True):
        result.peers_us[peer.name] = float(np.median(theirs))
        result.ratios[peer.name] = float(np.median(np.divide(times[0], theirs)))
    return result


def _difference(model: edgeinfer.Model, peer: Peer, edge: bytes) -> str:
    """How far the outputs are from the peer's: a fast wrong answer is worth nothing."""
    feeds = random_feeds(model.inputs, _COMPARED_INPUTS, seed=1)
    return "; ".join(map(_describe, compare(model, peer, feeds, differences_of(edge))))


def _describe(found: Difference) -> str:
    unit = "of the value's unit" if found.step is None else "quantised steps"
    return (
        f"{found.differ} of {found.values} values differ, by at most {found.largest:.4g} {unit}, "
        f"same top-1 in {found.same_top1} of {found.rows}"
    )


def _fill_inputs(session: edgeinfer.Session, feed: list[np.ndarray]) -> None:
    for i, array in enumerate(feed):
        raw = np.ascontiguousarray(array).tobytes()
        ffi.memmove(lib().ei_session_input(session._session, i), raw, len(raw))


def _in_turn(turns: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Microseconds per call, of each function in each round."""
    counts = []
    for turn in turns:
        turn()
        start = time.perf_counter()
        turn()
        counts.append(max(1, int(_TURN_SECONDS / (time.perf_counter() - start))))
    times: list[list[float]] = [[] for _ in turns]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for turn, count, taken in zip(turns, counts, times, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                turn()
            taken.append((time.perf_counter() - start) / count * 1e6)
    return times


def measure_peak() -> float | None:
    """GMAC/s of the int8 instruction on this core, or None without a compiler or on other CPUs."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        source = ROOT / "tools" / "peak_int8.c"
        if subprocess.run([compiler, "-O2", source, "-o", program], capture_output=True).returncode:
            return None
        done = subprocess.run([program], capture_output=True, text=True)
        return float(done.stdout) if done.returncode == 0 else None


def print_results(results: list[Result], peak: float | None) -> None:
    """As a table."""
    names = sorted({name for result in results for name in result.peers_us})
    header = ["model", "MMAC", "edgeinfer us", "GMAC/s", "% of peak"]
    header += [cell for name in names for cell in (f"{name} us", "ratio")]
    rows = []
    for r in results:
        share = f"{100 * r.gmacs / peak:.0f}" if peak else "-"
        row = [r.model, f"{r.mmac:.2f}", f"{r.us:.1f}", f"{r.gmacs:.1f}", share]
        for name in names:
            known = name in r.peers_us
            row += [f"{r.peers_us[name]:.1f}", f"{r.ratios[name]:.2f}"] if known else ["-", "-"]
        rows.append(row)
    print(format_table(header, rows))
    print()
    for r in results:
        for name, difference in r.differences.items():
            print(f"{r.model} against {name}: {difference}")
    measured = f"{peak:.1f} GMAC/s" if peak else "not measured"
    print(f"\ntier {results[0].tier}, peak of this core: {measured}")


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f".tflite or .onnx file, or one of {', '.join(REFERENCE_MODELS)}",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="where built models are kept; default: nowhere, they are made again each time",
    )
    parser.add_argument("--tier", help="kernel tier; default: the fastest")
    parser.add_argument("--seconds", type=float, default=3.0, help="per model (default 3)")
    parser.add_argument("--core", type=int, help="core to pin to; default: the last one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if args.core is None else args.core})
    peak = measure_peak()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for model in args.models:
            path = find_model(model, args.cache or Path(temporary))
            try:
                results.append(measure(path, args.tier, args.seconds))
            except (EdgeInferError, OSError) as error:
                raise SystemExit(f"bench_peers: {model}: {error}") from error
    print_results(results, peak)
    if args.json:
        content = {"peak_gmacs": peak, "models": [asdict(result) for result in results]}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
