"""The memory of a session: the program's buffers, unrolled.

A tensor that is held whole lies in its buffer at its offset, so that views and results written in
place share bytes as they do on the device. A ring is held whole here: all its rows, each in its own
place. The rows that a step reads are the ones last written to these places, which are those that
the ring would hold; a valid file never reads others (rule 33 of docs/format.md). Tensors that share
a ring have its rows, and so share one array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.model_file import FileProgram, FileTensor
from edgeinfer.engine_numba.node import Array
from edgeinfer.errors import BudgetError

_ALIGNMENT = 64


def aligned_bytes(size: int) -> Array:
    """So many zero bytes, the first at a multiple of 64."""
    try:
        memory = np.zeros(size + _ALIGNMENT, np.uint8)
    except MemoryError as error:
        raise BudgetError(f"engine='numba' needs {size} bytes for a buffer: {error}") from error
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size]


class Storage:
    """Arrays of a program's activations, over memory of its own."""

    def __init__(self, program: FileProgram) -> None:
        self.program = program
        self._places: dict[tuple[int, ...], Array] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the activations take."""
        return sum(memory.nbytes for memory in self._places.values())

    def array(self, tensor: FileTensor) -> Array:
        """An activation's rows, all of them, under its shape."""
        dtype = np.dtype(tensor.dtype)
        assert tensor.buffer is not None
        if tensor.ring_rows == tensor.rows:
            size = self.program.buffers[tensor.buffer].bytes
            memory = self._memory((tensor.buffer,), size)
            held: Any = memory[tensor.offset : tensor.offset + tensor.nbytes]
        else:
            place = (tensor.buffer, tensor.offset, tensor.rows, tensor.row_bytes)
            held = self._memory(place, tensor.nbytes)
        found: Array = held.view(dtype).reshape(tensor.shape)
        return found

    def _memory(self, place: tuple[int, ...], size: int) -> Array:
        if place not in self._places:
            self._places[place] = aligned_bytes(size)
        return self._places[place]
