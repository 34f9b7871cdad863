"""What the system says about this process's memory.

Exact, as far as the kernel and the C library are: resident bytes are counted page by page
(`/proc/self/smaps`; the cheaper `/proc/self/statm` is up to some hundred pages behind), pages of a
range by mincore(2), faults by getrusage(2), and bytes from malloc by glibc's mallinfo2(3). What a
system lacks is None.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
from functools import cache
from pathlib import Path
from typing import NamedTuple

PAGE_BYTES = mmap.PAGESIZE


class MemoryReading(NamedTuple):
    """The process at one moment: bytes, and counts since it began."""

    resident_bytes: int | None
    anonymous_bytes: int | None  # of them, those that are no pages of files
    minor_faults: int  # pages that the kernel had at hand, or made
    major_faults: int  # pages that it read from a disk
    malloc_bytes: int | None  # in use; small pieces that a thread's cache keeps count as used


def read_memory() -> MemoryReading:
    """Read everything; the first time costs some memory itself."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    kept = _rollup()
    return MemoryReading(
        kept.get("Rss"), kept.get("Anonymous"), used.ru_minflt, used.ru_majflt, malloc_bytes()
    )


def _rollup() -> dict[str, int]:
    """The sums over all mappings, in bytes; empty where the kernel has none (before 4.14)."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def resident_bytes_of_file(path: Path) -> int | None:
    """Bytes of this file that are mapped and resident here."""
    try:
        lines = Path("/proc/self/smaps").read_text(errors="replace").splitlines()
    except OSError:
        return None
    name, total, counts = str(path.resolve()), 0, False
    for line in lines:
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):  # "7f00-7f01 r--p 00000000 08:01 123   /path"
            counts = line.split(maxsplit=5)[5:] == [name]
        elif counts and key == "Rss:":
            total += int(rest.split()[0]) * 1024
    return total


def resident_pages(address: int, size: int) -> int | None:
    """Pages of a mapped range that are in memory; both ends are rounded out to pages.

    Of anonymous memory these are the pages that were touched, and not swapped out since.
    """
    start = address & -PAGE_BYTES
    count = -(-(address + size - start) // PAGE_BYTES)
    found = (ctypes.c_ubyte * count)()
    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
    except AttributeError:
        return None
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    if mincore(start, count * PAGE_BYTES, found) != 0:
        return None
    return sum(page & 1 for page in found)


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


@cache
def _mallinfo2() -> ctypes._NamedFuncPointer | None:
    try:
        function = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # glibc before 2.33, or another C library
        return None
    function.restype = _Mallinfo2
    function.argtypes = ()
    return function


def malloc_bytes() -> int | None:
    """Bytes that malloc has given and that are not freed, of all its arenas; None: not glibc's."""
    function = _mallinfo2()
    if function is None:
        return None
    found = function()
    return int(found.uordblks + found.hblkhd)
