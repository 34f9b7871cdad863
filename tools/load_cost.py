"""What one runtime takes to load one model: time, and the memory that the process grows by.

    python tools/load_cost.py onnxruntime model.onnx
    python tools/load_cost.py edgeinfer model.edge

A process of its own for each measurement: allocators keep what they were given, so the second
model of a process would seem to cost nothing. Memory is resident memory after loading and one run,
less that after the imports; file pages that are mapped and touched count. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.peers import PEERS  # noqa: E402

_SECONDS = 2.0
_MOST = 100
_ALIGNMENT = 64


def resident_bytes() -> int:
    """Resident memory, exactly: /proc/self/statm is up to some hundred pages behind."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise OSError("no Rss in /proc/self/smaps_rollup")


class EdgeInfer:
    """ei_model_open and ei_session_init, as a program in C would call them."""

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        from edgeinfer._ffi import check, ffi, lib

        path = str(model).encode()
        made, session, size = (ffi.new(t) for t in ("ei_model **", "ei_session **", "size_t *"))
        options = ffi.new("ei_session_options *")
        options.struct_bytes = ffi.sizeof("ei_session_options")
        options.threads = threads
        check(lib().ei_model_open(path, made))
        check(lib().ei_session_size(made[0], 0, options, size))
        self._memory = np.empty(size[0] + _ALIGNMENT, np.uint8)
        start = self._memory.ctypes.data + -self._memory.ctypes.data % _ALIGNMENT
        memory = ffi.cast("void *", start)
        check(lib().ei_session_init(made[0], 0, options, memory, size[0], session))
        self._model, self._session = made[0], session[0]

    def run_once(self) -> None:
        """On whatever the session's memory holds: zeros."""
        from edgeinfer._ffi import check, ffi, lib

        check(lib().ei_session_run(self._session, ffi.NULL, ffi.NULL))

    def close(self) -> None:
        """Give everything back."""
        from edgeinfer._ffi import lib

        lib().ei_session_close(self._session)
        lib().ei_model_close(self._model)


def measure(runtime: str, model: Path, inputs: list[np.ndarray], threads: int) -> dict[str, float]:
    """Median milliseconds to load, in a warm page cache, and bytes of resident memory."""
    model.read_bytes()  # into the page cache
    load: Callable[[], Any]
    if runtime == "edgeinfer":
        from edgeinfer._ffi import lib

        lib().ei_version()  # the library is loaded, as the peers' are when they are imported
        load = lambda: EdgeInfer(model, threads=threads)  # noqa: E731
    else:
        kind = PEERS[runtime][0]
        load = lambda: kind(model, threads=threads)  # noqa: E731
        _import(runtime)
    before = resident_bytes()
    loaded = load()
    if isinstance(loaded, EdgeInfer):
        loaded.run_once()
    else:
        loaded.run(inputs)
    added = resident_bytes() - before
    times: list[float] = []
    while not times or (sum(times) < _SECONDS and len(times) < _MOST):
        if isinstance(loaded, EdgeInfer):
            loaded.close()
        del loaded
        start = time.perf_counter()
        loaded = load()
        times.append(time.perf_counter() - start)
    return {"load_ms": float(np.median(times)) * 1e3, "rss_bytes": added}


def _import(runtime: str) -> None:
    if runtime == "LiteRT":
        import ai_edge_litert.interpreter  # noqa: F401
    elif runtime == "onnxruntime":
        import onnxruntime  # noqa: F401
    elif runtime == "OpenVINO":
        import openvino

        openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin's library
    else:
        import ncnn  # noqa: F401


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("runtime", choices=["edgeinfer", *PEERS])
    parser.add_argument("model", type=Path)
    parser.add_argument("--inputs", type=Path, help=".npz of the inputs, for a peer's run")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    arrays: list[np.ndarray] = []
    if args.inputs:
        stored = np.load(args.inputs)
        arrays = [stored[name] for name in stored.files]
    print(json.dumps(measure(args.runtime, args.model, arrays, args.threads)))


if __name__ == "__main__":
    main()
