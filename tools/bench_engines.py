"""Measure the numba engine against the scalar tier of the C core, and hold their bits together.

    python tools/bench_engines.py kws_int8.tflite vww_int8.tflite

Both run the same file on the same random input, in turns on one thread, and the shortest of their
runs are printed with the ratio: 1 is the scalar tier's time. (The shortest, since whatever else the
machine does makes a run longer only.) "load" is the engine's: reading the
file, checking it and unpacking its weights. "first run" is what compiling the kernels that no
earlier process has compiled takes, and is short once they are in numba's cache.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer.cli.arguments import natural, positive_seconds
from edgeinfer.cli.bench import random_input
from edgeinfer.convert import convert
from edgeinfer.errors import EdgeInferError
from edgeinfer.printing import format_table
from edgeinfer.source_format import HEAD_BYTES, source_format

_TURN_SECONDS = 0.02
_LEAST_TURNS = 3


def contents(path: Path) -> bytes:
    """The bytes of an .edge file, or those that a source model is converted to."""
    with path.open("rb") as file:
        is_source = source_format(file.read(HEAD_BYTES), path.suffix.lower()) is not None
    return convert(path).data if is_source else path.read_bytes()


def turn(call: Callable[[], None]) -> list[float]:
    """Seconds of the runs of one turn."""
    times: list[float] = []
    end = time.perf_counter() + _TURN_SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def in_turns(calls: Sequence[Callable[[], None]], seconds: float) -> list[float]:
    """The shortest run of each call, in seconds."""
    shortest = [float("inf") for _ in calls]
    end = time.perf_counter() + seconds
    turns = 0
    while turns < _LEAST_TURNS or time.perf_counter() < end:
        for i, call in enumerate(calls):
            shortest[i] = min([shortest[i], *turn(call)])
        turns += 1
    return shortest


def measure(path: Path, seconds: float, seed: int) -> list[str]:
    """A row of the table.

    Raises
    ------
    EdgeInferError
        The model cannot be loaded, or the engines' results differ.
    """
    file = contents(path)
    start = time.perf_counter()
    model = edgeinfer.load(file, engine="numba")
    loaded = time.perf_counter()
    core = edgeinfer.load(file, tier="scalar")
    rng = np.random.default_rng(seed)
    x = {info.name: random_input(info, rng) for info in model.inputs}
    outputs = [
        {info.name: np.empty(info.shape, info.dtype) for info in model.outputs} for _ in range(2)
    ]
    before_first = time.perf_counter()
    model.run_into(outputs[0], x)
    first = time.perf_counter() - before_first
    core.run_into(outputs[1], x)
    for name, found in outputs[0].items():
        if found.tobytes() != outputs[1][name].tobytes():
            raise EdgeInferError(f"{path}: the engines differ on output {name!r}")
    by_numba, by_core = in_turns(
        [lambda: model.run_into(outputs[0], x), lambda: core.run_into(outputs[1], x)], seconds
    )
    return [
        path.stem,
        f"{by_numba * 1e3:,.2f}",
        f"{by_core * 1e3:,.2f}",
        f"{by_numba / by_core:.2f}",
        f"{(loaded - start) * 1e3:,.0f}",
        f"{first:.2f}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--seconds", type=positive_seconds, default=4.0, help="for each model")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the random input")
    args = parser.parse_args(argv)
    try:
        rows = [measure(path, args.seconds, args.seed) for path in args.models]
    except (EdgeInferError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    header = ["model", "numba, ms", "scalar, ms", "numba / scalar", "load, ms", "first run, s"]
    print(format_table(header, rows, right=range(1, len(header))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
