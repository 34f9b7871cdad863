"""The operators of the runtime, read from the list that the C core is built from.

`operators.def` lies in the package as the same file that the C sources include, so that writer,
reader, engines and core cannot disagree about ids, operands or parameters.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

_ENTRY = re.compile(
    r"^EI_OPERATOR\((\d+), (\w+), \w+, \w+, (\d+), (\d+), (\d+), (.*)\)$", re.MULTILINE
)
_FIELD = re.compile(r"EI_(I32|F32)\((\w+)\)")


@dataclass(frozen=True)
class Operator:
    """One operator: its id in the file format, operand counts and parameter fields."""

    id: int
    name: str
    min_inputs: int
    max_inputs: int
    outputs: int
    fields: tuple[tuple[str, str], ...]  # (name, "i" or "f"): struct codes of 4 bytes each

    @property
    def params_bytes(self) -> int:
        """Size of the parameter record in bytes."""
        return 4 * len(self.fields)

    def pack(self, params: dict[str, int | float]) -> bytes:
        """Encode parameters; every field must be given, no other may be.

        Raises
        ------
        ValueError
            A field is missing, unknown, or outside int32.
        """
        names = [name for name, _ in self.fields]
        if set(names) != set(params):
            raise ValueError(
                f"{self.name}: parameters {sorted(params)} given, {sorted(names)} needed"
            )
        values = [
            float(np.float32(params[name])) if code == "f" else int(params[name])
            for name, code in self.fields
        ]
        try:
            return struct.pack("<" + "".join(code for _, code in self.fields), *values)
        except struct.error as error:
            raise ValueError(f"{self.name}: {params}: {error}") from error

    def unpack(self, data: bytes) -> dict[str, int | float]:
        """Decode a parameter record of exactly `params_bytes` bytes."""
        values = struct.unpack("<" + "".join(code for _, code in self.fields), data)
        return {name: value for (name, _), value in zip(self.fields, values, strict=True)}


@cache
def operators() -> dict[str, Operator]:
    """Every operator by name."""
    text = Path(__file__).with_name("operators.def").read_text(encoding="utf-8")
    found = {}
    for number, name, low, high, outputs, fields in _ENTRY.findall(text):
        codes = tuple(
            (field, "i" if kind == "I32" else "f") for kind, field in _FIELD.findall(fields)
        )
        found[name] = Operator(int(number), name, int(low), int(high), int(outputs), codes)
    return found


@cache
def operators_by_id() -> dict[int, Operator]:
    """Every operator by its id in the file format."""
    return {operator.id: operator for operator in operators().values()}
