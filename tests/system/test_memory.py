"""Readings of this process's memory, against memory that the tests take and touch themselves."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.system import memory, stack
from edgeinfer.system.memory import PAGE_BYTES, malloc_bytes, read_memory, resident_pages
from edgeinfer.system.stack import painted_depth, stack_high_water
from tests.requirements import missing, require_program

FRAMES = """
void touch(char *from, long *seen, long size) {
    volatile char frame[20000];
    for (unsigned i = 0; i < sizeof frame; i++) {
        frame[i] = 1;
    }
    seen[0] = (long)from + size + frame[size];
}
void shallow(long *seen) { seen[0] = 7; }
"""


def pages(count: int) -> np.ndarray:
    block = mmap.mmap(-1, count * PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(block, np.uint8)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = require_program("cc")
    folder = tmp_path_factory.mktemp("frames")
    (folder / "frames.c").write_text(FRAMES)
    command = [compiler, "-O1", "-fPIC", "-shared", "-o", "frames.so", "frames.c"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "frames.so"))


def address_of(function: ctypes._NamedFuncPointer) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def require_contexts() -> None:
    if not hasattr(ctypes.CDLL(None), "makecontext"):
        missing("this C library has no makecontext")


def test_touched_pages_are_resident_and_faults() -> None:
    block = pages(4096)
    for _ in range(3):
        before = read_memory()
    block[: 4000 * PAGE_BYTES : PAGE_BYTES] = 1
    after = read_memory()
    for grown in (
        (after.resident_bytes or 0) - (before.resident_bytes or 0),
        (after.anonymous_bytes or 0) - (before.anonymous_bytes or 0),
    ):
        assert 4000 <= grown / PAGE_BYTES <= 4100  # and what Python took meanwhile
    assert 4000 <= after.minor_faults - before.minor_faults <= 4100
    assert resident_pages(block.ctypes.data, block.nbytes) == 4000


def test_pages_of_a_range_are_those_that_it_reaches_into() -> None:
    block = pages(8)
    block[2 * PAGE_BYTES] = 1
    block[5 * PAGE_BYTES + 9] = 1
    start = block.ctypes.data
    assert resident_pages(start, block.nbytes) == 2
    assert resident_pages(start + 2 * PAGE_BYTES + 100, 10) == 1
    assert resident_pages(start + 3 * PAGE_BYTES, 2 * PAGE_BYTES) == 0
    assert resident_pages(start + 3 * PAGE_BYTES, 2 * PAGE_BYTES + 1) == 1
    assert resident_pages(0, PAGE_BYTES) is None  # nothing is mapped there


def test_bytes_of_a_file_are_counted_where_it_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "with space"
    path.write_bytes(bytes(9 * PAGE_BYTES))
    assert memory.resident_bytes_of_file(path) == 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[:: PAGE_BYTES // 2]) == 0
        assert memory.resident_bytes_of_file(path) == 9 * PAGE_BYTES
        assert memory.resident_bytes_of_file(tmp_path / "with") == 0


@pytest.mark.parametrize("size", [1 << 16, 1 << 22])  # on the heap, and a mapping of its own
def test_malloc_counts_what_is_given_until_it_is_freed(size: int) -> None:
    library = ctypes.CDLL(None)
    malloc, free = library.malloc, library.free
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    free.restype, free.argtypes = None, [ctypes.c_void_p]
    free(malloc(64))
    before = malloc_bytes()
    if before is None:
        missing("this C library has no mallinfo2")
    taken = malloc(size)
    given = (malloc_bytes() or 0) - before
    free(taken)
    freed = (malloc_bytes() or 0) - before
    assert size <= given <= size + PAGE_BYTES + 64
    assert freed == 0


def test_the_high_water_mark_is_the_frame_of_a_function(frames: ctypes.CDLL) -> None:
    require_contexts()
    seen = (ctypes.c_long * 1)()
    deep = stack_high_water(address_of(frames.touch), 40, ctypes.addressof(seen), 2)
    assert seen[0] == 43  # so it ran to its end, on what it was given
    assert deep is not None and 20000 <= deep <= 20000 + 512
    shallow = stack_high_water(address_of(frames.shallow), ctypes.addressof(seen))
    assert seen[0] == 7
    assert shallow is not None and 0 < shallow <= 512


def test_depth_counts_from_the_end_to_the_lowest_byte_written() -> None:
    painted = np.full(100, 0xA5, np.uint8)
    assert painted_depth(painted) == 0
    painted[90] = painted[70] = 0
    assert painted_depth(painted) == 30


def test_what_a_c_library_lacks_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: object())
    memory._mallinfo2.cache_clear()
    try:
        assert malloc_bytes() is None
        assert resident_pages(PAGE_BYTES, 1) is None
        assert stack.stack_high_water(0) is None
    finally:
        memory._mallinfo2.cache_clear()


def test_a_kernel_without_sums_tells_nothing_of_resident_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_path: Path, **_options: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    reading = read_memory()
    assert (reading.resident_bytes, reading.anonymous_bytes) == (None, None)
    assert reading.minor_faults > 0
    assert memory.resident_bytes_of_file(Path("x")) is None
