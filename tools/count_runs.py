#!/usr/bin/env python3
"""Run a model some times between marks that count_instructions.c counts at.

Started by arm_instructions.py in an ARM system under qemu:

    python count_runs.py edgeinfer model.edge 3
    python count_runs.py litert model.tflite 3

warms up, sets a mark, runs the model `count` times, sets a mark, runs it twice as often, and sets a
mark: what the last two differ by is `count` runs and nothing else. At the end it prints JSON: the
tier, and which file is mapped where.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

MARK = 0x45494D4B  # as count_instructions.c has it
_WARM_UP = 2


def edgeinfer_run(path: str) -> tuple[Callable[[], Any], str]:
    """A function that runs the model once, with inputs bound, and the tier."""
    import edgeinfer
    from edgeinfer._ffi import ffi, lib

    session = edgeinfer.load(path).session()
    arrays = [pattern(info.shape, np.dtype(info.dtype)) for info in session.inputs]
    results = [np.empty(info.shape, info.dtype) for info in session.outputs]
    inputs = ffi.new("void *[]", [ffi.from_buffer(array) for array in arrays])
    outputs = ffi.new("void *[]", [ffi.from_buffer(array) for array in results])
    function, handle = lib().ei_session_run, session._session
    bound = ffi.cast("const void *const *", inputs)

    def run(held: Any = (session, arrays, results, inputs)) -> None:
        if function(handle, bound, outputs) != 0:
            raise RuntimeError("ei_session_run failed")

    return run, session.tier


def litert_run(path: str) -> tuple[Callable[[], Any], str]:
    """A function that runs the model once, with inputs set, and the version."""
    import importlib.metadata

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], pattern(detail["shape"], np.dtype(detail["dtype"])))
    return interpreter.invoke, importlib.metadata.version("ai-edge-litert")


def pattern(shape: Any, dtype: np.dtype) -> np.ndarray:
    """Input for a model: the same each time, no two neighbours alike."""
    count = int(np.prod(shape))
    values = np.arange(count, dtype=np.int64) * 37 % 251 - 125
    return values.astype(np.int8).astype(dtype).reshape(shape)


def mark(libc: ctypes.CDLL) -> None:
    """Tell the plugin; without it the kernel refuses the number, and nothing happens."""
    libc.prctl(MARK, 0, 0, 0, 0)


def mapped_files() -> list[tuple[int, int, int, str]]:
    """First and last address, offset in the file and path of what is mapped and can be executed."""
    found = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            words = line.split(None, 5)
            if len(words) == 6 and words[5].startswith("/") and "x" in words[1]:
                first, last = (int(word, 16) for word in words[0].split("-"))
                found.append((first, last, int(words[2], 16), words[5].strip()))
    return found


def main() -> None:
    """Run from the command line."""
    runtime, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run, name = (edgeinfer_run if runtime == "edgeinfer" else litert_run)(path)
    libc = ctypes.CDLL(None)
    for _ in range(_WARM_UP):
        run()
    mark(libc)
    for times in (count, 2 * count):
        for _ in range(times):
            run()
        mark(libc)
    print(json.dumps({"name": name, "files": mapped_files()}))


if __name__ == "__main__":
    main()
