"""How many bytes per second this machine reads: the ceiling of steps that weights hold up.

By `numpy.bitwise_or.reduce`, which is there on every device. From memory it reads as fast as a loop
of vector instructions with prefetches does, from a cache four fifths of that (docs/benchmark.md).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np

from edgeinfer.system.caches import last_level_cache_bytes

_ROUNDS_NS = 60_000_000  # of each of the two
_LEAST_ROUNDS = 3
_UNKNOWN_CACHE = 4 << 20  # more than those have whose boards do not describe them
_LEAST_MEMORY, _MOST_MEMORY = 16 << 20, 256 << 20  # bytes read from memory


@dataclass(frozen=True)
class ReadBandwidth:
    """What threads of this process read together, in GB/s (10^9 bytes)."""

    threads: int
    memory: float | None
    """From DRAM; None where there is no room for what the caches do not hold."""
    cache: float | None
    """From half of the last-level cache; None where its size is not known."""


def measure_read_bandwidth(threads: int) -> ReadBandwidth:
    """Measure it, each thread on a part of its own; takes some tenths of a second."""
    last = last_level_cache_bytes()
    cache = None if last is None else _rate(last // 2 // threads, threads)
    whole = min(max(4 * (last or _UNKNOWN_CACHE), _LEAST_MEMORY), _MOST_MEMORY)
    try:
        memory = _rate(whole // threads, threads) if whole > (last or 0) else None
    except MemoryError:
        memory = None
    return ReadBandwidth(threads, memory, cache)


def _rate(size: int, threads: int) -> float | None:
    """GB/s of all threads, each reading `size` bytes over and over; the median of rounds."""
    if size < 4096:
        return None
    buffers = [np.ones(size // 8, np.uint64) for _ in range(threads)]
    rates = [0.0] * threads
    start = threading.Barrier(threads)

    def read(index: int) -> None:
        words = buffers[index]
        taken: list[int] = []
        start.wait()
        end = time.perf_counter_ns() + _ROUNDS_NS
        while len(taken) < _LEAST_ROUNDS or time.perf_counter_ns() < end:
            began = time.perf_counter_ns()
            np.bitwise_or.reduce(words)
            taken.append(time.perf_counter_ns() - began)
        rates[index] = words.nbytes / float(np.median(taken))

    others = [threading.Thread(target=read, args=(i,)) for i in range(1, threads)]
    for thread in others:
        thread.start()
    read(0)
    for thread in others:
        thread.join()
    return sum(rates)
