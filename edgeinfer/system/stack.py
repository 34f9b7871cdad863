"""How deep a C function reaches into its stack.

The function runs on a stack of its own that was filled with a pattern before: makecontext(3) and
swapcontext(3) switch to it and back, so that nothing of Python's is on it. The deepest byte that
differs afterwards is the high-water mark. It is exact for bytes that were written; a frame may
reserve some more below them that it never wrote.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

STACK_BYTES = 1 << 20
_PATTERN = 0xA5
_CONTEXT_BYTES = 1 << 14  # ucontext_t has about 1 KB on x86-64 and 4.5 KB on 64-bit ARM


class _Stack(ctypes.Structure):
    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


class _Context(ctypes.Structure):
    """How ucontext_t begins on every Linux; the registers behind it are the C library's."""

    _fields_ = (
        ("flags", ctypes.c_ulong),
        ("link", ctypes.c_void_p),
        ("stack", _Stack),
        ("rest", ctypes.c_ubyte * _CONTEXT_BYTES),
    )


def stack_high_water(function: int, *arguments: int) -> int | None:
    """Bytes of stack that a call of a C function takes, to the deepest byte that it writes.

    Parameters
    ----------
    function : address of a C function that takes only pointers; what it returns is dropped.
    arguments : its arguments, as addresses.

    Returns
    -------
    Bytes below the stack's beginning, the C library's two words for the way back included; None
    where the C library has no makecontext (musl).
    """
    library = ctypes.CDLL(None)
    try:
        getcontext, makecontext = library.getcontext, library.makecontext
        swapcontext = library.swapcontext
    except AttributeError:
        return None
    # A page at the low end that may not be touched: too deep a call ends there, not in our memory.
    memory = mmap.mmap(-1, mmap.PAGESIZE + STACK_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    bytes_ = np.frombuffer(memory, np.uint8)
    base = bytes_.ctypes.data
    library.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(mmap.PAGESIZE), 0)
    stack = bytes_[mmap.PAGESIZE :]
    stack[:] = _PATTERN
    here, there = _Context(), _Context()
    if getcontext(ctypes.byref(there)) != 0:
        return None
    there.stack.pointer = base + mmap.PAGESIZE
    there.stack.size = STACK_BYTES
    there.link = ctypes.addressof(here)
    makecontext.restype = None
    makecontext(
        ctypes.byref(there),
        ctypes.c_void_p(function),
        ctypes.c_int(len(arguments)),
        *(ctypes.c_void_p(argument) for argument in arguments),
    )
    if swapcontext(ctypes.byref(here), ctypes.byref(there)) != 0:
        return None
    return painted_depth(stack)


def painted_depth(stack: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    """Bytes from the end of a painted stack to its lowest byte that is no longer painted."""
    touched = np.flatnonzero(stack != _PATTERN)
    return int(stack.size - touched[0]) if touched.size else 0
