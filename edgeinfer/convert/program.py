"""The lowered model: operators of the runtime with packed constants, before and after planning.

`lower` makes a `Program` from a graph; `plan` decides order, steps and addresses (`Plan`); `write`
puts both in a file.
Operators, operand order and parameters are those of `operators.def`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DTYPE_CODES = {
    "int8": 1,
    "uint8": 2,
    "int16": 3,
    "int32": 4,
    "int64": 5,
    "float32": 6,
    "bool": 7,
    "float16": 8,
}
"""Codes of `ei_dtype`."""

SCHEME_CODES = {"": 0, "mxfp4": 1, "nvfp4": 2}
"""Codes of `ei_weights_scheme`: how packed constants of uint8 hold weights, "" for as they are."""


@dataclass(eq=False)
class Value:
    """An operand: an activation, or a constant when `data` is given.

    data is a C-contiguous array of the shape and dtype.

    scale and zero_point describe the tensor to people and to callers that quantise; kernels use
    parameters. scheme, of packed weights of four bits, is one of SCHEME_CODES.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    data: npt.NDArray[Any] | None = None
    scheme: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the dense array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def rows(self) -> int:
        """Rows as the file format counts them.

        Rank 4: N * H; lower: all but the last axis; higher: all but the last two.
        """
        kept = 2 if len(self.shape) >= 4 else 1
        return math.prod(self.shape[: max(len(self.shape) - kept, 0)])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.nbytes // self.rows

    def __repr__(self) -> str:
        kind = "constant" if self.data is not None else "value"
        return f"<{kind} {self.name!r} {self.dtype}{list(self.shape)}>"


@dataclass(eq=False)
class Operation:
    """One operator application. `name` is the source node's."""

    operator: str
    inputs: list[Value | None]
    outputs: list[Value]
    params: dict[str, int | float]
    name: str = ""

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value


@dataclass(eq=False)
class Program:
    """Operations in a valid order.

    No value is both input and output, and none is an output twice: lowering copies.
    """

    name: str
    inputs: list[Value]
    outputs: list[Value]
    operations: list[Operation]
    scratch_bytes: int = 0


def constant_bytes(programs: Iterable[Program]) -> int:
    """Bytes of the constants that programs of one file read; equal contents count once."""
    sizes: dict[bytes, int] = {}
    for program in programs:
        for operation in program.operations:
            for value in operation.inputs:
                if value is not None and value.data is not None:
                    contents = np.ascontiguousarray(value.data)
                    digest = hashlib.sha256(contents.data.cast("B")).digest()
                    sizes[digest] = contents.nbytes
    return sum(sizes.values())


@dataclass
class Buffer:
    """Bytes of the arena, alive from first_step to last_step, both included."""

    bytes: int
    first_step: int
    last_step: int
    offset: int = 0
    is_input: bool = False
    is_output: bool = False


@dataclass(frozen=True)
class Placement:
    """Where a value lies: buffer, byte offset in it, and rows held (all for a whole tensor)."""

    buffer: int
    offset: int
    ring_rows: int


@dataclass(frozen=True)
class Step:
    """Run `operations[operation]` for rows [row_begin, row_end) of its first output."""

    operation: int
    row_begin: int
    row_end: int


@dataclass(eq=False)
class Plan:
    """The memory plan of one program.

    cost_ns is what a run takes by the costs that it was planned with, 0 where nobody asked.
    """

    program: Program
    operations: list[Operation]  # what is left to run, in order, after views are resolved
    buffers: list[Buffer]
    placements: dict[Value, Placement]
    steps: list[Step]
    arena_bytes: int
    peak_step: int
    state_bytes: int = 0
    cost_ns: float = 0.0
