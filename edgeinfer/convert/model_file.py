"""What an `.edge` file says, as Python objects. `read` makes them; `inspect` and `draw` show them.

Needs NumPy and the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True)
class FileSection:
    """Where a part of the file lies, in bytes."""

    name: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class FileBuffer:
    """A range of a region ("arena" or "state") and the steps, both inclusive, that need it."""

    region: str
    offset: int
    bytes: int
    first_step: int
    last_step: int
    is_input: bool
    is_output: bool


@dataclass(frozen=True, eq=False)
class FileTensor:
    """An activation (`buffer` is an index of the program's buffers) or a constant (`data`).

    `offset` counts bytes in the buffer, or in the constants section. `scheme` says how the bytes of
    packed weights hold values of four bits: "mxfp4", "nvfp4", or "" for as they are.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: int | None
    offset: int
    rows: int
    ring_rows: int
    row_bytes: int
    scale: float
    zero_point: int
    data: npt.NDArray[Any] | None = field(default=None, repr=False)
    scheme: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the dense array."""
        return self.rows * self.row_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes in memory at a time: those of the ring, where the tensor is one."""
        return self.ring_rows * self.row_bytes


@dataclass(frozen=True, eq=False)
class FileNode:
    """One operator application, with its parameters decoded."""

    operator: str
    inputs: tuple[FileTensor | None, ...]
    outputs: tuple[FileTensor, ...]
    params: dict[str, int | float]
    name: str


@dataclass(frozen=True)
class FileStep:
    """Run `nodes[node]` for rows [row_begin, row_end) of its first output."""

    node: int
    row_begin: int
    row_end: int


@dataclass(frozen=True, eq=False)
class FileProgram:
    """A program and its plan. Sizes are in bytes."""

    name: str
    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]
    tensors: tuple[FileTensor, ...]  # activations; constants are operands of the nodes
    buffers: tuple[FileBuffer, ...]
    nodes: tuple[FileNode, ...]
    steps: tuple[FileStep, ...]
    peak_step: int
    arena_bytes: int
    state_bytes: int
    scratch_bytes: int
    session_bytes: int
    weights_bytes: int

    @property
    def weights_by_type(self) -> dict[str, int]:
        """Bytes of `weights_bytes` by scheme of four bits, else by dtype."""
        constants = {
            (tensor.offset, tensor.nbytes): tensor.scheme or tensor.dtype
            for node in self.nodes
            for tensor in node.inputs
            if tensor is not None and tensor.buffer is None
        }
        found: dict[str, int] = {}
        for (_, size), kind in constants.items():
            found[kind] = found.get(kind, 0) + size
        return found


@dataclass(frozen=True, eq=False)
class ModelFile:
    """Everything that a file says. Constants are views of the bytes that were read."""

    version: tuple[int, int]
    file_bytes: int
    sections: tuple[FileSection, ...]
    programs: tuple[FileProgram, ...]
    metadata: dict[str, Any]
