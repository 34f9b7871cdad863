"""Several lengths of the sequence in one file: a program for each, over the same weights.

The plan of a device's memory needs a number for every dimension, and sentences have many lengths.
So a model is converted once for each length that was asked for, the longest first: that is what a
session's memory is for, and what a caller gets who asks for no program by name. Constants of equal
contents are stored once in the file, and here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.program import Program
from edgeinfer.convert.write import MAX_PROGRAMS
from edgeinfer.errors import InputError


def checked_lengths(lengths: Sequence[int]) -> list[int]:
    """The lengths that were asked for, the longest first.

    Raises
    ------
    InputError
        One is below 1 or comes twice, or there are more than a file has programs.
    """
    found = sorted((int(n) for n in lengths), reverse=True)
    if any(n < 1 for n in found) or len(set(found)) != len(found):
        raise InputError(f"sequence_lengths is {list(lengths)}: give each length once, from 1 on")
    if len(found) > MAX_PROGRAMS:
        raise InputError(
            f"sequence_lengths has {len(found)} entries; a file holds {MAX_PROGRAMS} programs"
        )
    return found


def program_name(length: int | None) -> str:
    """What the program for a length is called; "main" where nobody asked for one."""
    return "main" if length is None else f"length_{length}"


class SharedConstants:
    """Lets programs that were lowered one after the other hold equal constants once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...], bytes], npt.NDArray[Any]] = {}

    def share(self, program: Program) -> None:
        """Replace constants by equal ones of the programs before."""
        for operation in program.operations:
            for value in operation.inputs:
                if value is not None and value.data is not None:
                    contents = np.ascontiguousarray(value.data)
                    digest = hashlib.sha256(contents.data.cast("B")).digest()
                    key = (str(contents.dtype), contents.shape, digest)
                    value.data = self._known.setdefault(key, value.data)
