"""Runs a model whose every block of memory ends, or begins, at a page that may not be touched.

    python -m tests.core.guarded end|begin THREADS MODEL.edge...

A process of its own, because a byte too far ends it. Prints the CRC-32 of each model's outputs.
`checksums` starts it.
"""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer._ffi import ffi, lib
from tests.core.c_api import OpenModel, ok, pointers, run
from tests.core.edge_file import EdgeFile

ROOT = Path(__file__).resolve().parents[2]
PAGE = mmap.PAGESIZE
PROT_NONE = 0

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
kept: list[mmap.mmap] = []


def take(size: int, at_end: bool) -> np.ndarray:
    """Bytes between two forbidden pages, up against the one behind or the one before them."""
    inside = max(1, -(-size // PAGE)) * PAGE
    block = mmap.mmap(-1, inside + 2 * PAGE)
    kept.append(block)
    whole = np.frombuffer(block, np.uint8)
    for start in (0, PAGE + inside):
        if libc.mprotect(whole.ctypes.data + start, PAGE, PROT_NONE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    first = PAGE + inside - size if at_end else PAGE
    result = whole[first : first + size]
    result[:] = 0xA5
    return result


def checksum(data: bytes, at_end: bool, threads: int) -> int:
    """Open, bind, run in the caller's arrays, own buffers and by rows; CRC-32 of the outputs."""
    rng = np.random.default_rng(1)
    model = OpenModel(data, lambda size: take(size, at_end))
    memory = take(model.session_bytes(threads=threads), at_end)
    session = model.session(memory, threads=threads)
    info = ffi.new("ei_tensor_info *")
    inputs, outputs = [], []
    for i in range(lib().ei_model_input_count(model.model, 0)):
        ok(lib().ei_model_input(model.model, 0, i, info))
        inputs.append(take(info.bytes, at_end))
        inputs[-1][:] = rng.integers(0, 256, info.bytes)
    for i in range(lib().ei_model_output_count(model.model, 0)):
        ok(lib().ei_model_output(model.model, 0, i, info))
        outputs.append(take(info.bytes, at_end))
    ok(run(session, pointers(*inputs), pointers(*outputs)))
    own = [lib().ei_session_input(session, i) for i in range(len(inputs))]
    if ffi.NULL not in own:  # else an input is a ring
        for address, given in zip(own, inputs, strict=True):
            ffi.memmove(address, ffi.from_buffer(given), given.nbytes)
        ok(run(session))
        check_own_outputs(session, outputs)
    feed(model, session, inputs, at_end)
    check_own_outputs(session, outputs)
    lib().ei_session_close(session)
    return zlib.crc32(b"".join(output.tobytes() for output in outputs))


def check_own_outputs(session: Any, outputs: Sequence[np.ndarray]) -> None:
    """The session's own outputs are those expected."""
    for i, expected in enumerate(outputs):
        own = ffi.cast("const char *", lib().ei_session_output(session, i))
        assert bytes(ffi.buffer(own, expected.nbytes)) == expected.tobytes()


def feed(model: OpenModel, session: Any, inputs: Sequence[np.ndarray], at_end: bool) -> None:
    """Give inputs by up to three rows at a time."""
    info, taken = ffi.new("ei_input_rows *"), ffi.new("uint32_t *")
    ok(lib().ei_session_begin(session, ffi.NULL))
    while (i := lib().ei_session_next_input(session)) < len(inputs):
        ok(lib().ei_model_input_rows(model.model, 0, i, info))
        left = lib().ei_session_rows_left(session, i)
        first, count = info.rows - left, min(left, 3)
        rows = take(count * info.row_bytes, at_end)
        rows[:] = inputs[i][first * info.row_bytes :][: len(rows)]
        ok(lib().ei_session_feed(session, i, ffi.from_buffer("char[]", rows), count, taken))
        assert taken[0] > 0


def checksums(
    edge: str, files: Mapping[str, bytes], folder: Path, threads: int = 1
) -> dict[str, int]:
    """Run .edge files in a process with guards at one edge, "begin" or "end"; CRC-32 by name."""
    paths = []
    for name, data in files.items():
        file = EdgeFile(data)
        while len(file.build()) % 16 != 0:  # so that it is aligned although it ends with a page
            file.sections[10] += b" "
        paths.append(folder / f"{name}.edge")
        paths[-1].write_bytes(file.build())
    command = [sys.executable, "-m", "tests.core.guarded", *map(str, [edge, threads, *paths])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"after {done.stdout.count(chr(10))} of {list(files)}: "
        f"{done.stderr or f'ended by signal {-done.returncode}'}"
    )
    return dict(zip(files, map(int, done.stdout.split()), strict=True))


if __name__ == "__main__":
    for name in sys.argv[3:]:
        crc = checksum(Path(name).read_bytes(), sys.argv[1] == "end", int(sys.argv[2]))
        print(crc, flush=True)
