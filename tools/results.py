"""Print the table of measured results that README shows, as Markdown.

For every INT8 .tflite model of a folder: planned bytes, how many output values differ from LiteRT's
default path over many inputs, load time and latency. Models are not part of this repository; the
folder is EDGEINFER_MODELS, or ../shared/models beside it.

    python tools/results.py --count 1000
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer.cli.arguments import positive_int
from edgeinfer.cli.doctor import examine
from edgeinfer.convert import convert

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.compare import Peer, compare, peer_for, random_feeds  # noqa: E402

_LARGE_FILE = 2 << 20  # models above it run on fewer inputs
_LOADS = 50
_RUN_SECONDS = 3.0
_RUNS_IN_TURN = 5


def measure(path: Path, count: int, folder: Path) -> list[str]:
    """The cells of one model."""
    edge = folder / f"{path.stem}.edge"
    convert(path).save(edge)
    model = edgeinfer.load(edge)
    inputs = count if path.stat().st_size < _LARGE_FILE else max(1, count // 20)
    feeds = random_feeds(model.inputs, inputs, seed=0)
    peer = peer_for(path)
    (difference,) = compare(model, peer, feeds)
    ours, theirs = _medians_us(model, peer)
    plan = model.plan
    return [
        path.stem.removesuffix("_int8"),
        f"{plan.arena_bytes:,}",
        f"{plan.session_bytes:,}",
        f"{edge.stat().st_size:,}",
        f"{difference.differ:,} of {difference.values:,}",
        f"{_load_ms(edge):.2f}",
        f"{ours:,.1f}",
        f"{ours / theirs:.2f}",
    ]


def _load_ms(edge: Path) -> float:
    times = []
    for _ in range(_LOADS):
        start = time.perf_counter()
        edgeinfer.load(edge)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def _medians_us(model: edgeinfer.Model, peer: Peer) -> tuple[float, float]:
    """Medians of our runs and of the peer's, taken in turn."""
    (x,) = next(random_feeds(model.inputs, 1, seed=1))
    out = np.empty(model.outputs[0].shape, model.outputs[0].dtype)
    peer.run([x])
    ours: list[float] = []
    theirs: list[float] = []
    end = time.perf_counter() + _RUN_SECONDS
    while not ours or time.perf_counter() < end:
        for _ in range(_RUNS_IN_TURN):
            ours.append(_seconds(lambda: model.run_into(out, x)))
        for _ in range(_RUNS_IN_TURN):
            theirs.append(_seconds(peer.invoke))
    return float(np.median(ours)) * 1e6, float(np.median(theirs)) * 1e6


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("EDGEINFER_MODELS", ROOT.parent / "shared" / "models")
    parser.add_argument("--models", type=Path, default=Path(default))
    parser.add_argument("--count", type=positive_int, default=1000, help="inputs per model")
    args = parser.parse_args(argv)
    paths = sorted(args.models.glob("*_int8.tflite"))
    if not paths:
        print(f"no *_int8.tflite in {args.models}; set EDGEINFER_MODELS", file=sys.stderr)
        return 1
    folder = ROOT / "build" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    header = (
        "model", "arena, bytes", "session, bytes", "file, bytes", "values unlike LiteRT's",
        "load, ms", "p50, µs", "p50 / LiteRT's",
    )  # fmt: skip
    print("|" + "|".join(f" {name} " for name in header) + "|")
    print("|---" * len(header) + "|")
    for path in paths:
        print("| " + " | ".join(measure(path, args.count, folder)) + " |", flush=True)
    machine = examine()
    print(f"\n{machine['cpu']}, tier {machine['tier']}, one thread, {datetime.date.today()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
