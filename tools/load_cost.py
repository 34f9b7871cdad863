"""What one runtime takes to load one model: time, and the memory that the process grows by.

    python tools/load_cost.py onnxruntime model.onnx
    python tools/load_cost.py edgeinfer model.edge

A process of its own for each measurement: allocators keep what they were given, so the second
model of a process would seem to cost nothing. Memory is resident memory after loading and one run,
less that after the imports; file pages that are mapped and touched count, which the kernel can drop
and read again. So the bytes that are the process's own stand beside it, and the most that was
resident at any moment until then. Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.peers import PEERS  # noqa: E402

_SECONDS = 2.0
_MOST = 100
_ALIGNMENT = 64


class CannotLoad(Exception):
    """The process that should have loaded a model failed; what it printed."""


def load_in_a_process(
    runtime: str, model: Path, inputs: Sequence[np.ndarray], threads: int = 1
) -> dict[str, float]:
    """What `measure` finds in a fresh process.

    Raises
    ------
    CannotLoad
        The runtime is missing, or does not take the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "inputs.npz"
        np.savez(stored, *inputs)
        command = [sys.executable, __file__, runtime, str(model)]
        command += ["--inputs", str(stored), "--threads", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotLoad(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _kilobytes(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in {file}")


def resident_bytes(name: str = "Rss") -> int:
    """Resident memory, exactly: /proc/self/statm is up to some hundred pages behind."""
    return _kilobytes("/proc/self/smaps_rollup", name)


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # the kernel may not; what came before was small
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    return _kilobytes("/proc/self/status", "VmHWM")


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
    """Median milliseconds to load, in a warm page cache, and bytes of resident memory.

    Of these `own_bytes` are no pages of files; `peak_bytes` is the most there was meanwhile.
    """
    with model.open("rb") as file:  # into the page cache
        while file.read(1 << 20):
            pass
    load: Callable[[], Any]
    if runtime == "edgeinfer":
        from edgeinfer._ffi import lib

        lib().ei_version()  # the library is loaded, as the peers' are when they are imported
        load = lambda: EdgeInfer(model, threads=threads)  # noqa: E731
    else:
        kind = PEERS[runtime][0]
        load = lambda: kind(model, threads=threads)  # noqa: E731
        _import(runtime)
    _forget_peak()
    before, own_before = resident_bytes(), resident_bytes("Anonymous")
    loaded = load()
    if isinstance(loaded, EdgeInfer):
        loaded.run_once()
    else:
        loaded.run(inputs)
    added = resident_bytes() - before
    memory = {
        "rss_bytes": added,
        "own_bytes": resident_bytes("Anonymous") - own_before,
        "peak_bytes": max(_peak_bytes() - before, added),  # the kernel counts it in strides
    }
    times: list[float] = []
    while not times or (sum(times) < _SECONDS and len(times) < _MOST):
        if isinstance(loaded, EdgeInfer):
            loaded.close()
        del loaded
        start = time.perf_counter()
        loaded = load()
        times.append(time.perf_counter() - start)
    return {"load_ms": float(np.median(times)) * 1e3, **memory}


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
