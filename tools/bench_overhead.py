"""Measure what Python adds to the C core: to a run, and to a process that loads a model.

    python tools/bench_overhead.py ad01.tflite examples/digits/digits_int8.onnx

Runs: the same session on the same arrays, called by a loop in C (needs a C compiler), by cffi with
prepared arguments, by `Session.run_into` and by `Session.run`. They take turns of a few
milliseconds on one pinned core, and what is printed are medians over all rounds: of the times, and
of the differences between neighbouring turns. Tiny models show it best. Only models with one input
and one output are run.

Loads: a fresh process each time, file and bytecode in the page cache; medians. "import" is what
`import edgeinfer` takes once numpy is imported; "load" is from the call to a model with a session,
the first in its process (the C library is loaded with it); "RSS added" is what loading and one run
add to the process, and what of it lies above the bytes of file and session, which no process can do
without once it used them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import edgeinfer
from edgeinfer._ffi import ffi, lib
from edgeinfer.convert import convert
from edgeinfer.printing import format_table

ROOT = Path(__file__).resolve().parents[1]
_TURN_SECONDS = 0.002
_KIB = 1024

_LOADING = """
import json, os, sys, time
import numpy
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
start = time.perf_counter()
import edgeinfer
imported = time.perf_counter() - start
feed = json.loads(sys.argv[2])
feed = {name: numpy.zeros(shape, dtype) for name, (shape, dtype) in feed.items()}
before = resident()
start = time.perf_counter()
model = edgeinfer.load(sys.argv[1])
loaded = time.perf_counter() - start
model.run(feed)
added = resident() - before
times = []
for _ in range(5):
    start = time.perf_counter()
    edgeinfer.load(sys.argv[1])
    times.append(time.perf_counter() - start)
print(json.dumps([imported, loaded, sorted(times)[2], added]))
"""


@contextmanager
def c_loop() -> Iterator[Callable[..., float] | None]:
    """tools/call_loop.c as a function, or None without a compiler."""
    compiler = shutil.which("cc")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "call_loop.so"
        command = [str(compiler), "-O2", "-shared", "-fPIC", "-I", str(ROOT / "csrc" / "include")]
        command += [str(ROOT / "tools" / "call_loop.c"), "-o", str(library)]
        if compiler is None or subprocess.run(command, check=False).returncode != 0:
            yield None
            return
        function = ctypes.CDLL(str(library)).call_loop
        function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int]
        function.restype = ctypes.c_double
        yield function


def measure_runs(
    model: edgeinfer.Model, loop: Callable[..., float] | None, seconds: float
) -> dict[str, list[float]]:
    """Nanoseconds per call of each way to run, in each round."""
    session = model.session()
    x = np.zeros(model.inputs[0].shape, model.inputs[0].dtype)
    out = np.zeros(model.outputs[0].shape, model.outputs[0].dtype)
    buffers = [ffi.from_buffer(x), ffi.from_buffer(out)]
    inputs, outputs = ffi.new("void *[]", buffers[:1]), ffi.new("void *[]", buffers[1:])
    names: dict[str, Any] = {
        "run": lib().ei_session_run,
        "handle": session._session,
        "inputs": ffi.cast("const void *const *", inputs),
        "outputs": outputs,
        "session": session,
        "x": x,
        "out": out,
    }

    def timed(statement: str) -> Callable[[int], float]:
        timer = timeit.Timer(statement, globals=names)
        return lambda count: timer.timeit(count) / count * 1e9

    ways = {
        "cffi": timed("run(handle, inputs, outputs)"),
        "run_into": timed("session.run_into(out, x)"),
        "run": timed("session.run(x)"),
    }
    if loop is not None:
        arguments = [ffi.addressof(lib(), "ei_session_run"), session._session, inputs, outputs]
        addresses = [int(ffi.cast("uintptr_t", argument)) for argument in arguments]
        ways["C"] = lambda count: loop(*addresses, count)

    for way in ways.values():
        way(100)
    count = max(1, int(_TURN_SECONDS * 1e9 / ways["run"](100)))
    rounds = max(5, int(seconds / (_TURN_SECONDS * len(ways))))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way(count))
    return times


def print_runs(runs: dict[str, dict[str, list[float]]]) -> None:
    """Medians, in microseconds, and what the ways add to cffi and to C."""
    ways = ["C", "cffi", "run_into", "run"]
    differences = [("run_into", "cffi"), ("run", "cffi"), ("run_into", "C"), ("run", "C")]
    header = ["us per run", *ways, *(f"{a} - {b}" for a, b in differences)]
    rows = []
    for name, times in runs.items():
        row = [name]
        row += [f"{np.median(times[way]) / 1e3:.2f}" if way in times else "-" for way in ways]
        for a, b in differences:
            if a in times and b in times:
                row.append(f"{np.median(np.subtract(times[a], times[b])) / 1e3:.2f}")
            else:
                row.append("-")
        rows.append(row)
    print(format_table(header, rows))


def measure_load(path: Path, model: edgeinfer.Model, repeats: int, bytecode: Path) -> list[float]:
    """Medians: seconds to import, to load first and again; bytes of RSS added."""
    feed = {info.name: (info.shape, str(info.dtype)) for info in model.inputs}
    command = [sys.executable, "-c", _LOADING, str(path), json.dumps(feed)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }
    results = []
    for _ in range(1 + repeats):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        results.append(json.loads(done.stdout))
    # The first writes the bytecode, as installing a wheel does.
    return [statistics.median(column) for column in zip(*results[1:], strict=True)]


def print_loads(
    paths: dict[str, Path], models: dict[str, edgeinfer.Model], repeats: int, bytecode: Path
) -> None:
    """One row per model."""
    header = ["in a fresh process", "file KiB", "session KiB", "import ms", "load ms",
              "again ms", "RSS added KiB", "above file + session"]  # fmt: skip
    rows = []
    for name, path in paths.items():
        imported, loaded, again, added = measure_load(path, models[name], repeats, bytecode)
        file_bytes, session_bytes = path.stat().st_size, models[name].plan.session_bytes
        row = [name, f"{file_bytes / _KIB:.0f}", f"{session_bytes / _KIB:.0f}"]
        row += [f"{1e3 * value:.2f}" for value in (imported, loaded, again)]
        row += [f"{added / _KIB:.0f}", f"{(added - file_bytes - session_bytes) / _KIB:.0f}"]
        rows.append(row)
    print(format_table(header, rows))


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "models", nargs="+", type=Path, metavar="MODEL", help=".edge, .tflite or .onnx"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of runs per model (default 3)")
    parser.add_argument("--repeats", type=int, default=7, help="processes per model (default 7)")
    parser.add_argument("--core", type=int, help="core to pin to; default: the last one")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if args.core is None else args.core})
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, Path] = {}
        for path in args.models:
            paths[path.stem] = path
            if path.suffix != ".edge":
                paths[path.stem] = Path(folder) / f"{path.stem}.edge"
                paths[path.stem].write_bytes(convert(path).data)
        models = {name: edgeinfer.load(path) for name, path in paths.items()}
        with c_loop() as loop:
            runs = {
                name: measure_runs(model, loop, args.seconds)
                for name, model in models.items()
                if len(model.inputs) == len(model.outputs) == 1
            }
        print_runs(runs)
        print()
        print_loads(paths, models, args.repeats, Path(folder) / "bytecode")


if __name__ == "__main__":
    main()
