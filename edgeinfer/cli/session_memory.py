"""What a session takes, measured: pages, faults, malloc, and how deep the stacks are used.

Two sessions are made, one after the other. The first lies in pages that nobody has touched: how
much the process grows while it is made and run is what a program that uses the model would see. The
second lies in memory that is painted, to the byte: what has another value afterwards was written.

Exact: pages of the session, bytes written in the arena, bytes written beside the session's memory,
and the deepest byte written of each stack. The growth of the process is counted exactly too. It has
the pages of the caller's stack, pages of the model file and of the library, which are the system's
and shared, and now and then one that the interpreter touches meanwhile.
"""

from __future__ import annotations

import gc
import mmap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer._ffi import check, ffi, lib, text
from edgeinfer.budget import SESSION_ALIGNMENT, SESSION_THREAD_BYTES, align_up
from edgeinfer.model import ModelHandle
from edgeinfer.session import Session, SessionOptions, TensorInfo, needed_bytes, ordered
from edgeinfer.system.memory import (
    PAGE_BYTES,
    read_memory,
    resident_bytes_of_file,
    resident_pages,
)
from edgeinfer.system.stack import painted_depth, stack_high_water

_PAINTS = (0xA5, 0x5A)  # a byte that a run happens to leave as one of them is not left as the other
_RECORD_BYTES = 1024  # of a thread in front of its stack, and more than it has
_MOST_RUNS, _RUN_SECONDS = 100, 0.5

Bytes = npt.NDArray[np.uint8]
ReadFeed = Callable[[tuple[TensorInfo, ...]], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Phase:
    """What the process grew by during a part of the work; None: this system does not tell."""

    name: str
    resident_bytes: int | None
    anonymous_bytes: int | None  # of them, those that are no pages of files
    minor_faults: int
    major_faults: int
    malloc_bytes: int | None


@dataclass
class SessionMemory:
    """Planned and measured. Sizes are in bytes."""

    tier: str
    threads: int  # that a run uses
    arena_bytes: int
    state_bytes: int
    scratch_bytes: int
    bookkeeping_bytes: int
    session_bytes: int
    thread_bytes: int  # of all threads beyond the first
    phases: list[Phase] = field(default_factory=list)
    page_bytes: int = PAGE_BYTES
    session_pages: int | None = None  # touched, of the session's memory with its threads'
    planned_pages: int = 0
    file_resident_bytes: int | None = None
    arena_bytes_written: int = 0
    fed_by_rows: bool = False  # in the run that wrote them
    bytes_written_outside: int = 0
    stack_bytes: int | None = None  # of the calling thread, by a run
    thread_stack_bytes: list[int] = field(default_factory=list)  # of the session's own threads


def measure_session(
    path: Path, options: SessionOptions, read_feed: ReadFeed, *, quantize: bool = False
) -> SessionMemory:
    """Make sessions of an .edge file, run them, and measure.

    Parameters
    ----------
    read_feed : gives the inputs of a run; None: zeros.
    quantize : accept floating-point values for quantised inputs, as `Session.run` does.
    """
    handle = ModelHandle(str(path), path.name)
    feed = _arrays(handle.inputs, read_feed(handle.inputs), quantize)
    size = needed_bytes(handle, options)
    found = _planned(handle, path, size)
    del handle  # its pages of the file too
    meter = _Meter(found.phases)
    with meter.without_collections():
        _measure_growth(path, options, feed, found, meter)
    _measure_writes(path, options, feed, found)
    return found


def _arrays(
    infos: Sequence[TensorInfo], given: Mapping[str, Any] | None, quantize: bool
) -> list[npt.NDArray[Any]]:
    if given is None:
        return [np.zeros(info.shape, info.dtype) for info in infos]
    return [
        Session._as_input(info, value, quantize)
        for info, value in zip(infos, ordered(given, infos, "input"), strict=True)
    ]


def _planned(handle: ModelHandle, path: Path, size: int) -> SessionMemory:
    from edgeinfer.convert.read import read_model

    program = read_model(path.read_bytes()).programs[handle.program]
    parts = (program.arena_bytes, program.state_bytes, program.scratch_bytes)
    return SessionMemory(
        tier="",
        threads=0,
        arena_bytes=parts[0],
        state_bytes=parts[1],
        scratch_bytes=parts[2],
        bookkeeping_bytes=program.session_bytes
        - sum(align_up(part, SESSION_ALIGNMENT) for part in parts),
        session_bytes=program.session_bytes,
        thread_bytes=size - program.session_bytes,
        planned_pages=-(-size // PAGE_BYTES),
    )


class _Meter:
    """Readings before and after each part of the work."""

    def __init__(self, phases: list[Phase]) -> None:
        self._phases = phases
        for _ in range(3):  # what reading takes itself is taken by then
            read_memory()

    @contextmanager
    def without_collections(self) -> Iterator[None]:
        """Python's garbage stays where it is meanwhile."""
        gc.collect()
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A part of the work, with a name for the report."""
        before = read_memory()
        yield
        after = read_memory()
        grown = [
            None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)
        ]
        resident, anonymous, minor, major, malloc = grown
        self._phases.append(Phase(name, resident, anonymous, minor or 0, major or 0, malloc))


class _RawSession:
    """ei_model_open and ei_session_init, as a program in C would call them, in given memory."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        self._options, self._kept = options.for_c()
        self._path = str(path).encode(errors="surrogateescape")
        self._model = ffi.new("ei_model **")
        self._made = ffi.new("ei_session **")

    def open(self) -> None:
        check(lib().ei_model_open(self._path, self._model))

    def init(self, memory: Bytes) -> None:
        address = ffi.cast("void *", memory.ctypes.data)
        check(
            lib().ei_session_init(
                self._model[0], 0, self._options, address, memory.nbytes, self._made
            )
        )

    def bind(self, feed: Sequence[npt.NDArray[Any]]) -> None:
        """Where a run reads: the session's own buffers; the arrays, where it holds some rows."""
        self._feed = [np.ascontiguousarray(array) for array in feed]
        self._inputs = ffi.new("const void *[]", max(1, len(feed)))
        self._own: list[tuple[int, int, int]] = []
        for index, array in enumerate(self._feed):
            own = lib().ei_session_input(self._made[0], index)
            if own == ffi.NULL:
                self._inputs[index] = ffi.cast("void *", array.ctypes.data)
            else:
                self._own.append((index, int(ffi.cast("uintptr_t", own)), array.nbytes))

    def fill(self) -> None:
        """Put the inputs into the session's own buffers: a run has written over them."""
        for index, address, size in self._own:
            source = ffi.cast("char *", self._feed[index].ctypes.data)
            ffi.memmove(ffi.cast("char *", address), source, size)

    def run(self) -> None:
        check(lib().ei_session_run(self._made[0], self._inputs, ffi.NULL))

    @property
    def has_rings(self) -> bool:
        """Whether the session holds only some rows of an input: a run on arrays uses none."""
        return len(self._own) < len(self._feed)

    def run_by_rows(self) -> None:
        """A run whose inputs are fed, which uses the rings."""
        session, taken = self._made[0], ffi.new("uint32_t *")
        check(lib().ei_session_begin(session, ffi.NULL))
        rows = [lib().ei_session_rows_left(session, i) for i in range(len(self._feed))]
        while (index := lib().ei_session_next_input(session)) < len(self._feed):
            left = lib().ei_session_rows_left(session, index)
            array = self._feed[index].reshape(rows[index], -1)[rows[index] - left :]
            check(lib().ei_session_feed(session, index, ffi.from_buffer(array), left, taken))

    def stack_of_run(self) -> int | None:
        """Bytes of stack that a run takes from the thread that calls it."""
        session, inputs = (
            int(ffi.cast("uintptr_t", pointer)) for pointer in (self._made[0], self._inputs)
        )
        function = int(ffi.cast("uintptr_t", lib().ei_session_run))
        return stack_high_water(function, session, inputs, 0)

    @property
    def tier(self) -> str:
        return text(lib().ei_session_tier(self._made[0]))

    @property
    def threads(self) -> int:
        return int(lib().ei_session_threads(self._made[0]))

    def close(self) -> None:
        """Safe at any point: NULL is allowed."""
        lib().ei_session_close(self._made[0])
        lib().ei_model_close(self._model[0])


def _fresh_pages(size: int) -> Bytes:
    """Whole pages that nobody has touched, from the system itself and in pages of its own size."""
    block = mmap.mmap(-1, align_up(size, PAGE_BYTES), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            block.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(block, np.uint8)


def _measure_growth(
    path: Path,
    options: SessionOptions,
    feed: Sequence[npt.NDArray[Any]],
    found: SessionMemory,
    meter: _Meter,
) -> None:
    raw = _RawSession(path, options)
    size = found.session_bytes + found.thread_bytes
    memory = _fresh_pages(size)[:size]
    try:
        with meter.phase("open the model"):
            raw.open()
        with meter.phase("make the session"):
            raw.init(memory)
        raw.bind(feed)
        raw.fill()
        start = time.perf_counter()
        with meter.phase("first run"):
            raw.run()
        seconds = time.perf_counter() - start
        more = max(1, min(_MOST_RUNS, int(_RUN_SECONDS / max(seconds, 1e-6))))
        with meter.phase(f"{more} more run{'s' if more > 1 else ''}"):
            for _ in range(more):
                raw.run()
        found.session_pages = resident_pages(memory.ctypes.data, size)
        found.file_resident_bytes = resident_bytes_of_file(path)
        found.tier, found.threads = raw.tier, raw.threads
    finally:
        raw.close()


def _measure_writes(
    path: Path, options: SessionOptions, feed: Sequence[npt.NDArray[Any]], found: SessionMemory
) -> None:
    raw = _RawSession(path, options)
    size = found.session_bytes + found.thread_bytes
    whole = _fresh_pages(2 * PAGE_BYTES + align_up(size, PAGE_BYTES))
    whole[:] = _PAINTS[0]
    memory = whole[PAGE_BYTES : PAGE_BYTES + size]
    state = align_up(found.state_bytes, SESSION_ALIGNMENT)
    begin = found.session_bytes - state - align_up(found.arena_bytes, SESSION_ALIGNMENT)
    arena = memory[begin : begin + found.arena_bytes]
    try:
        raw.open()
        raw.init(memory)
        raw.bind(feed)
        written = np.zeros(arena.size, np.bool_)
        found.fed_by_rows = raw.has_rings
        run = raw.run_by_rows if found.fed_by_rows else raw.run
        for paint in _PAINTS:
            arena[:] = paint
            raw.fill()
            run()
            written |= arena != paint
        raw.fill()
        found.stack_bytes = raw.stack_of_run()
        found.arena_bytes_written = int(np.count_nonzero(written))
    finally:
        raw.close()
    outside = (whole[:PAGE_BYTES], whole[PAGE_BYTES + size :])
    found.bytes_written_outside = sum(int(np.count_nonzero(o != _PAINTS[0])) for o in outside)
    if found.threads > 1:
        threads = memory[found.session_bytes :].reshape(-1, SESSION_THREAD_BYTES)
        found.thread_stack_bytes = [painted_depth(area[_RECORD_BYTES:]) for area in threads]
