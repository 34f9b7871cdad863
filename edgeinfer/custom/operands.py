"""What custom operators take: types of their tensors, and attributes as a file holds them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeinfer.errors import InputError

DTYPES = {
    1: "int8",
    2: "uint8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float32",
    7: "bool",
}
"""Element types of activations, by their `ei_dtype`."""

MAX_RANK = 6
MAX_INPUTS = 16

_TYPE = re.compile(r"\s*(\w+)\s*\[\s*(\.\.\.|:(?:\s*,\s*:)*)?\s*\]\s*")


@dataclass(frozen=True)
class TensorType:
    """Dtype and rank of an operand; None for any rank."""

    dtype: str
    rank: int | None

    def __str__(self) -> str:
        axes = "..." if self.rank is None else ", ".join([":"] * self.rank)
        return f"{self.dtype}[{axes}]"


def parse_type(text: str) -> TensorType:
    """Read "float32[:, :]" (two axes), "int8[...]" (any number), "float32[]" (none).

    Raises
    ------
    InputError
        It is none of these, or the dtype is not one that a tensor may have.
    """
    match = _TYPE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InputError(f"{text!r} is not the type of a tensor, such as 'float32[:, :]'")
    dtype, axes = match[1], match[2]
    if dtype not in DTYPES.values():
        raise InputError(f"{text!r}: {dtype} is none of {', '.join(DTYPES.values())}")
    rank = None if axes == "..." else (axes or "").count(":")
    if rank is not None and rank > MAX_RANK:
        raise InputError(f"{text!r} has {rank} axes; {MAX_RANK} are the most")
    return TensorType(dtype, rank)


Value = int | float | str | list[int] | list[float]
"""What an attribute may be."""


@dataclass(frozen=True)
class Attribute:
    """An attribute that an operator declares.

    kind is "int", "float", "text", "ints" or "floats"; a node must have it when default is None.
    """

    name: str
    kind: str
    default: Value | None

    def accept(self, value: Any) -> Value:
        """A node's value as this attribute's kind has it.

        Raises
        ------
        ValueError
            It is of another kind or out of its range; the message says so.
        """
        if self.kind == "text":
            if isinstance(value, str) and "\0" not in value:
                return value
        elif self.kind in ("ints", "floats"):
            if isinstance(value, (list, tuple)) and all(self._fits(v) for v in value):
                return [self._number(v) for v in value]
        elif self._fits(value):
            return self._number(value)
        raise ValueError(f"attribute {self.name!r} is {value!r}, must be {_KINDS[self.kind]}")

    def _fits(self, value: Any) -> bool:
        if self.kind in ("int", "ints"):
            return isinstance(value, int) and -(2**63) <= value < 2**63
        return isinstance(value, (int, float))

    def _number(self, value: Any) -> int | float:
        if self.kind in ("int", "ints"):
            return int(value)
        try:
            return float(value)
        except OverflowError as error:  # a whole number that no float64 holds
            raise ValueError(f"attribute {self.name!r}: {error}") from error


_KINDS = {
    "int": "an integer of 64 bits",
    "float": "a number",
    "text": "text",
    "ints": "a list of integers of 64 bits",
    "floats": "a list of numbers",
}
_OF_TYPE: dict[Any, str] = {
    int: "int",
    bool: "int",
    float: "float",
    str: "text",
    list[int]: "ints",
    list[float]: "floats",
    tuple[int, ...]: "ints",
    tuple[float, ...]: "floats",
}


def declare_attributes(given: Mapping[str, Any] | None) -> tuple[Attribute, ...]:
    """Attributes from {"alpha": 0.1, "axes": list[int]}: a default, or the type of a required one.

    Raises
    ------
    InputError
        A name or a value cannot be an attribute's.
    """
    return tuple(_declared(name, value) for name, value in (given or {}).items())


def _declared(name: str, value: Any) -> Attribute:
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier():
        raise InputError(f"attribute {name!r}: its name must be an identifier")
    if len(name) > 31:
        raise InputError(f"attribute {name!r}: its name must have at most 31 characters")
    try:
        if value in _OF_TYPE:
            return Attribute(name, _OF_TYPE[value], None)
    except TypeError:  # a list, which is a default
        pass
    kind = _kind_of(value)
    if kind is None:
        raise InputError(
            f"attribute {name!r}: {value!r} is neither a default (number, text, list of numbers) "
            "nor a type (int, float, str, list[int], list[float])"
        )
    try:
        return Attribute(name, kind, Attribute(name, kind, None).accept(value))
    except ValueError as error:  # of this kind, and out of its range
        raise InputError(str(error)) from error


def _kind_of(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        kinds = {_kind_of(item) for item in value}
        if kinds == {"int"}:
            return "ints"
        return "floats" if kinds and kinds <= {"int", "float"} else None
    for kind, types in (("int", int), ("float", float), ("text", str)):
        if isinstance(value, types):
            return kind
    return None


def fill_attributes(declared: Sequence[Attribute], given: Mapping[str, Any]) -> dict[str, Value]:
    """A node's attributes in the order of their declaration, defaults filled in.

    Raises
    ------
    ValueError
        One is missing, of another kind, or not declared; the message says which.
    """
    for name in given:
        if all(attribute.name != name for attribute in declared):
            known = ", ".join(repr(attribute.name) for attribute in declared) or "none"
            raise ValueError(f"attribute {name!r} is not declared (declared: {known})")
    filled: dict[str, Value] = {}
    for attribute in declared:
        if attribute.name in given:
            filled[attribute.name] = attribute.accept(given[attribute.name])
        elif attribute.default is None:
            raise ValueError(f"attribute {attribute.name!r} is missing, and has no default")
        else:
            filled[attribute.name] = attribute.default
    return filled


# --- as a file holds them (docs/format.md, "Custom operators"); the C core has checked the bytes

HEAD = struct.Struct("<64sII")
RECORD = struct.Struct("<32sIIII")


Stored = tuple[str, Any]
"""Kind ("ints", "floats", "text") and value of an attribute in a file."""
_STORED_AS = {"int": "ints", "ints": "ints", "float": "floats", "floats": "floats", "text": "text"}


def decode_attributes(read: Callable[[int, int], bytes]) -> dict[str, Stored]:
    """Attributes of a blob; `read(offset, count)` gives bytes of it."""
    _, count, _ = HEAD.unpack(read(0, HEAD.size))
    found: dict[str, Stored] = {}
    for i in range(count):
        record = read(HEAD.size + i * RECORD.size, RECORD.size)
        raw, kind, values, offset, _ = RECORD.unpack(record)
        name = raw.rstrip(b"\0").decode("ascii", "replace")
        if kind == 3:
            found[name] = "text", read(offset, values - 1).decode("utf-8", "replace")
        else:
            code = "q" if kind == 1 else "d"
            numbers = list(struct.unpack(f"<{values}{code}", read(offset, 8 * values)))
            found[name] = "ints" if kind == 1 else "floats", numbers
    return found


def match_attributes(
    declared: Sequence[Attribute], stored: Mapping[str, Stored]
) -> dict[str, Value]:
    """What a file has for the declared attributes: just these, in the order of declaration.

    Raises
    ------
    ValueError
        It has others; the message says how.
    """
    names = [attribute.name for attribute in declared]
    if list(stored) != names:
        raise ValueError(
            f"the file has attributes {list(stored)}, the registered operator {names}: convert the "
            "model with the operator as it is registered here"
        )
    plain: dict[str, Any] = {}
    for attribute in declared:
        kind, value = stored[attribute.name]
        if kind != _STORED_AS[attribute.kind]:
            raise ValueError(
                f"attribute {attribute.name!r} is stored as {kind}, must be "
                f"{_KINDS[attribute.kind]}"
            )
        if attribute.kind in ("int", "float"):
            if len(value) != 1:
                raise ValueError(f"attribute {attribute.name!r} has {len(value)} values, not 1")
            value = value[0]
        plain[attribute.name] = value
    return fill_attributes(declared, plain)
