"""The outer part of an `.edge` file: header, section table, and sections as arrays of records.

Rules 1 to 9 of docs/format.md, the reserved bytes, and names.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.model_file import FileSection
from edgeinfer.errors import ModelFileError, ModelVersionError

_MAGIC = b"EDGEINF\x1a"
_MAJOR = 1
_MAX_SECTIONS = 64
_OPTIONAL = 0x8000
_HEADER_BYTES = 64
_SECTION_BYTES = 32
_ALIGNMENT = 64
_NAMES = {
    1: "programs",
    2: "buffers",
    3: "tensors",
    4: "nodes",
    5: "operands",
    6: "steps",
    7: "params",
    8: "constants",
    9: "strings",
    10: "metadata",
}


def _record(*groups: tuple[str, str]) -> np.dtype[Any]:
    """A record of fields, given as (format, names) in order."""
    return np.dtype([(name, form) for form, names in groups for name in names.split()])


_RECORDS = {
    "programs": _record(
        ("<u4", "name first_buffer buffer_count first_tensor tensor_count first_node node_count"),
        ("<u4", "first_step step_count first_input input_count first_output output_count"),
        ("<u4", "peak_step"),
        ("(2,)<u4", "reserved"),
        ("<u8", "arena_bytes state_bytes scratch_bytes session_bytes weights_bytes"),
        ("(24,)u1", "reserved2"),
    ),
    "buffers": _record(
        ("<u8", "offset bytes"),
        ("<u4", "first_step last_step"),
        ("u1", "region flags"),
        ("(6,)u1", "reserved"),
    ),
    "tensors": _record(
        ("<u4", "name buffer"),
        ("<u8", "offset"),
        ("u1", "dtype rank"),
        ("<u2", "flags"),
        ("(6,)<i4", "dims"),
        ("<u4", "rows ring_rows row_bytes"),
        ("<f4", "scale"),
        ("<i4", "zero_point"),
    ),
    "nodes": _record(
        ("<u2", "op input_count output_count reserved"),
        ("<u4", "first_operand params_offset params_bytes name"),
        ("(2,)<u4", "reserved2"),
    ),
    "operands": np.dtype("<u4"),
    "steps": _record(("<u4", "node row_begin row_end reserved")),
}


def require(condition: bool, message: str) -> None:
    """Raise ModelFileError unless the condition holds."""
    if not condition:
        raise ModelFileError(message)


class Sections:
    """The checked sections of a file.

    Attributes
    ----------
    version : major and minor.
    places : where each section lies, in the order of the file.
    records : arrays of records by section name.
    params, constants, strings, metadata : contents of the sections of bytes.
    """

    def __init__(self, data: memoryview) -> None:
        self.version, count = _check_header(data)
        self.places = _check_table(data, count)
        parts = {place.name: data[place.offset :][: place.bytes] for place in self.places}
        for number, place in enumerate(self.places):
            (checksum,) = struct.unpack_from("<I", data, _section_at(number) + 4)
            require(
                zlib.crc32(data[place.offset :][: place.bytes]) == checksum,
                f"section {place.name}: the checksum does not match",
            )
        for name in _NAMES.values():
            require(name in parts, f"there is no section {name}")
        self.records = {name: _records(name, parts[name]) for name in _RECORDS}
        self.params = bytes(parts["params"])
        self.constants = parts["constants"]
        self.strings = bytes(parts["strings"])
        self.metadata = bytes(parts["metadata"])
        require(
            self.strings[:1] == b"\0" and self.strings[-1:] == b"\0",
            "section strings: it does not start and end with a zero byte",
        )

    def name(self, offset: int, where: str) -> str:
        """The string at an offset. It need not be UTF-8; what is not shows as U+FFFD."""
        require(
            offset < len(self.strings),
            f"{where}: name at {offset} of {len(self.strings)} bytes of strings",
        )
        return self.strings[offset : self.strings.index(b"\0", offset)].decode(errors="replace")


def _section_at(number: int) -> int:
    return _HEADER_BYTES + number * _SECTION_BYTES


def _check_header(data: memoryview) -> tuple[tuple[int, int], int]:
    """Version and number of sections."""
    require(
        bytes(data[: len(_MAGIC)]) == _MAGIC, "not an .edge file: it does not start with EDGEINF"
    )
    require(len(data) >= _HEADER_BYTES, f"{len(data)} bytes, fewer than the header's: truncated")
    major, minor, count, file_bytes, checksum, flags = struct.unpack_from("<HHIQII", data, 8)
    if major != _MAJOR:
        raise ModelVersionError(
            f"the file has format version {major}.{minor}, this reader knows {_MAJOR}.x: convert "
            "the model again, or update edgeinfer"
        )
    require(1 <= count <= _MAX_SECTIONS, f"header: {count} sections; 1 to {_MAX_SECTIONS} may be")
    require(
        file_bytes == len(data),
        f"header: the file should have {file_bytes} bytes and has {len(data)}: "
        + ("truncated" if file_bytes > len(data) else "something was appended"),
    )
    end = _section_at(count)
    require(end <= len(data), f"header: {count} section records do not fit in the file")
    front = bytearray(data[:end])
    front[24:28] = bytes(4)
    require(zlib.crc32(front) == checksum, "header: the checksum does not match")
    require(flags == 0 and not any(data[32:64]), "header: flags and reserved bytes must be 0")
    return (major, minor), count


def _check_table(data: memoryview, count: int) -> tuple[FileSection, ...]:
    places: list[FileSection] = []
    types: set[int] = set()
    end = _section_at(count)
    for number in range(count):
        kind, _, offset, size, records, record_bytes = struct.unpack_from(
            "<IIQQII", data, _section_at(number)
        )
        require(
            kind in _NAMES or kind >= _OPTIONAL,
            f"section {number} has type {kind}, which this reader does not know",
        )
        name = _NAMES.get(kind, f"optional {kind:#x}")
        require(kind not in types, f"section {name} is there twice")
        types.add(kind)
        start = -(-end // _ALIGNMENT) * _ALIGNMENT
        require(
            offset == start and offset + size <= len(data) and not any(data[end:start]),
            f"section {name}: {size} bytes at {offset} do not follow what ends at {end}",
        )
        end = offset + size
        if kind in _NAMES:
            expected = _RECORDS[name].itemsize if name in _RECORDS else 0
            require(
                record_bytes == expected and records * expected == (size if expected else records),
                f"section {name}: {records} records of {record_bytes} bytes in {size} bytes",
            )
        places.append(FileSection(name, offset, size))
    require(end == len(data), f"the last section ends at {end}, the file at {len(data)}")
    return tuple(places)


def _records(name: str, part: memoryview) -> npt.NDArray[Any]:
    array = np.frombuffer(part, _RECORDS[name])
    for reserved in [field for field in array.dtype.names or () if field.startswith("reserved")]:
        require(not np.any(array[reserved]), f"section {name}: reserved bytes must be 0")
    return array
