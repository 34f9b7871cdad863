"""The C functions called directly, without the Python classes in between."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer._ffi import ffi, lib, text
from tests.core.edge_file import aligned

NULL = ffi.NULL

_kept: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""Arrays that lists of addresses point to."""


def status_of(code: int) -> tuple[str, str]:
    """Name of a status and, unless it is EI_OK, the message that goes with it."""
    name: str = ffi.string(ffi.cast("ei_status", code))
    return name, "" if code == 0 else text(lib().ei_last_error())


def ok(code: int) -> None:
    """The call must have succeeded."""
    assert status_of(code) == ("EI_OK", "")


def refused(code: int, status: str, *words: str) -> None:
    """The call must have failed with this status and a message with all these words."""
    name, message = status_of(code)
    assert name == status, message
    for word in words:
        assert word in message, message


def pointer(array: np.ndarray) -> Any:
    """Where an array lies."""
    return ffi.cast("void *", array.ctypes.data)


def pointers(*arrays: np.ndarray | None) -> Any:
    """A list of addresses, as ei_session_run takes it."""
    found = ffi.new("void *[]", max(1, len(arrays)))
    _kept[found] = arrays
    for i, array in enumerate(arrays):
        found[i] = NULL if array is None else pointer(array)
    return found


def threads_options(threads: int) -> Any:
    """Options that ask for threads, or none at all for one thread."""
    if threads == 1:
        return NULL
    made = ffi.new("ei_session_options *", {"threads": threads})
    made.struct_bytes = ffi.sizeof("ei_session_options")
    return made


class OpenModel:
    """A model in memory that Python owns.

    Parameters
    ----------
    data : the file
    take : gives an array of so many bytes, at an address aligned to 64
    """

    def __init__(
        self, data: bytes, take: Callable[[int], np.ndarray] = lambda n: aligned(bytes(n))
    ) -> None:
        self.data = take(len(data))
        self.data[:] = np.frombuffer(data, np.uint8)
        size = ffi.new("size_t *")
        ok(lib().ei_model_size(pointer(self.data), len(data), size))
        self.memory = take(size[0])
        made = ffi.new("ei_model **")
        ok(lib().ei_model_init(pointer(self.data), len(data), pointer(self.memory), size[0], made))
        self.model = made[0]
        self._sessions: list[np.ndarray] = []

    def session_bytes(self, program: int = 0, threads: int = 1) -> int:
        """What ei_session_size says."""
        size = ffi.new("size_t *")
        ok(lib().ei_session_size(self.model, program, threads_options(threads), size))
        return int(size[0])

    def session(self, memory: np.ndarray, program: int = 0, threads: int = 1) -> Any:
        """A session in this memory, which stays as long as the model."""
        self._sessions.append(memory)
        made = ffi.new("ei_session **")
        options = threads_options(threads)
        address = pointer(memory)
        ok(lib().ei_session_init(self.model, program, options, address, memory.nbytes, made))
        return made[0]


def run(session: Any, inputs: Any = NULL, outputs: Any = NULL) -> int:
    """ei_session_run."""
    code: int = lib().ei_session_run(session, ffi.cast("const void *const *", inputs), outputs)
    return code


def own_buffer(address: Any, shape: tuple[int, ...], dtype: str = "int8") -> np.ndarray:
    """One of the session's own buffers as an array."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = ffi.buffer(ffi.cast("char *", address), count)
    return np.frombuffer(raw, dtype).reshape(shape)
