"""An `.edge` file taken apart, changed, and put together again with right checksums.

Written from docs/format.md, sharing nothing with the writer and readers that it tests.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from edgeinfer._ffi import ffi, lib, text

HEADER = np.dtype(
    [
        ("magic", "u1", 8),
        ("major", "<u2"),
        ("minor", "<u2"),
        ("section_count", "<u4"),
        ("file_bytes", "<u8"),
        ("checksum", "<u4"),
        ("flags", "<u4"),
        ("reserved", "u1", 32),
    ]
)
SECTION = np.dtype(
    [
        ("type", "<u4"),
        ("checksum", "<u4"),
        ("offset", "<u8"),
        ("bytes", "<u8"),
        ("count", "<u4"),
        ("record_bytes", "<u4"),
    ]
)
PROGRAM = np.dtype(
    [
        ("name", "<u4"),
        ("first_buffer", "<u4"),
        ("buffer_count", "<u4"),
        ("first_tensor", "<u4"),
        ("tensor_count", "<u4"),
        ("first_node", "<u4"),
        ("node_count", "<u4"),
        ("first_step", "<u4"),
        ("step_count", "<u4"),
        ("first_input", "<u4"),
        ("input_count", "<u4"),
        ("first_output", "<u4"),
        ("output_count", "<u4"),
        ("peak_step", "<u4"),
        ("reserved", "<u4", 2),
        ("arena_bytes", "<u8"),
        ("state_bytes", "<u8"),
        ("scratch_bytes", "<u8"),
        ("session_bytes", "<u8"),
        ("weights_bytes", "<u8"),
        ("reserved2", "u1", 24),
    ]
)
BUFFER = np.dtype(
    [
        ("offset", "<u8"),
        ("bytes", "<u8"),
        ("first_step", "<u4"),
        ("last_step", "<u4"),
        ("region", "u1"),
        ("flags", "u1"),
        ("reserved", "u1", 6),
    ]
)
TENSOR = np.dtype(
    [
        ("name", "<u4"),
        ("buffer", "<u4"),
        ("offset", "<u8"),
        ("dtype", "u1"),
        ("rank", "u1"),
        ("flags", "<u2"),
        ("dims", "<i4", 6),
        ("rows", "<u4"),
        ("ring_rows", "<u4"),
        ("row_bytes", "<u4"),
        ("scale", "<f4"),
        ("zero_point", "<i4"),
    ]
)
NODE = np.dtype(
    [
        ("op", "<u2"),
        ("input_count", "<u2"),
        ("output_count", "<u2"),
        ("reserved", "<u2"),
        ("first_operand", "<u4"),
        ("params_offset", "<u4"),
        ("params_bytes", "<u4"),
        ("name", "<u4"),
        ("reserved2", "<u4", 2),
    ]
)
STEP = np.dtype([("node", "<u4"), ("row_begin", "<u4"), ("row_end", "<u4"), ("reserved", "<u4")])

RECORDS = {1: PROGRAM, 2: BUFFER, 3: TENSOR, 4: NODE, 5: np.dtype("<u4"), 6: STEP}
"""Records by section type; types 7 to 10 hold bytes."""

ABSENT = 0xFFFFFFFF


class EdgeFile:
    """The parts of a file, each free to be changed before `build`.

    Attributes
    ----------
    header : dict of header fields that `build` must not compute, e.g. {"major": 2}.
    sections : contents by type, in the order of the file: arrays of records, or bytearrays.
    section_fields : fields of section records that `build` must not compute, by type.
    """

    def __init__(self, data: bytes) -> None:
        header = np.frombuffer(data, HEADER, 1)[0]
        self.header: dict[str, Any] = {}
        self.sections: dict[int, Any] = {}
        self.section_fields: dict[int, dict[str, int]] = {}
        for record in np.frombuffer(data, SECTION, header["section_count"], HEADER.itemsize):
            start, size, number = (int(record[name]) for name in ("offset", "bytes", "type"))
            content = data[start : start + size]
            if number in RECORDS:
                self.sections[number] = np.frombuffer(content, RECORDS[number]).copy()
            else:
                self.sections[number] = bytearray(content)

    @property
    def programs(self) -> np.ndarray:
        return self.sections[1]

    @property
    def buffers(self) -> np.ndarray:
        return self.sections[2]

    @property
    def tensors(self) -> np.ndarray:
        return self.sections[3]

    @property
    def nodes(self) -> np.ndarray:
        return self.sections[4]

    @property
    def operands(self) -> np.ndarray:
        return self.sections[5]

    @property
    def steps(self) -> np.ndarray:
        return self.sections[6]

    def tensor(self, name: str) -> np.void:
        """The record of a tensor, by its name."""
        return self.tensors[self.tensor_index(name)]

    def tensor_index(self, name: str) -> int:
        """Index of a tensor in the file."""
        strings = bytes(self.sections[9])
        names = [strings[t["name"] :].split(b"\0")[0].decode() for t in self.tensors]
        return names.index(name)

    def build(self) -> bytes:
        """The file, with checksums over whatever it holds."""
        table = np.zeros(len(self.sections), SECTION)
        body = bytearray(HEADER.itemsize + table.nbytes)
        for record, (number, content) in zip(table, self.sections.items(), strict=True):
            raw = bytes(content) if isinstance(content, bytearray) else content.tobytes()
            body += bytes(-len(body) % 64)
            record["type"], record["offset"], record["bytes"] = number, len(body), len(raw)
            if number in RECORDS:
                record["count"] = len(content)
                record["record_bytes"] = RECORDS[number].itemsize
            record["checksum"] = zlib.crc32(raw)
            for name, value in self.section_fields.get(number, {}).items():
                record[name] = value
            body += raw
        header = np.zeros(1, HEADER)
        header["magic"] = np.frombuffer(b"EDGEINF\x1a", np.uint8)
        header["major"] = 1
        header["section_count"] = len(table)
        header["file_bytes"] = len(body)
        for name, value in self.header.items():
            header[name] = value
        body[HEADER.itemsize : HEADER.itemsize + table.nbytes] = table.tobytes()
        body[: HEADER.itemsize] = header.tobytes()
        return with_header_checksum(bytes(body))


def with_header_checksum(data: bytes) -> bytes:
    """The file with its header's checksum made right."""
    header = np.frombuffer(data[: HEADER.itemsize], HEADER).copy()
    end = HEADER.itemsize + int(header["section_count"][0]) * SECTION.itemsize
    header["checksum"] = 0
    header["checksum"] = zlib.crc32(header.tobytes() + data[HEADER.itemsize : end])
    return header.tobytes() + data[HEADER.itemsize :]


def check(data: bytes) -> tuple[str, str]:
    """Name of the status that the C core gives a file, and its message ("" for EI_OK)."""
    memory = aligned(data)
    pointer = ffi.from_buffer("char[]", memory)
    size = ffi.new("size_t *")
    status = lib().ei_model_size(pointer, len(data), size)
    if status == 0:
        handle = ffi.new("uint64_t[]", -(-size[0] // 8))
        model = ffi.new("ei_model **")
        status = lib().ei_model_init(pointer, len(data), handle, size[0], model)
    name = ffi.string(ffi.cast("ei_status", status))
    return name, "" if status == 0 else text(lib().ei_last_error())


def aligned(data: bytes, alignment: int = 64) -> np.ndarray:
    """A copy of the bytes at an aligned address, with nothing readable assumed behind it."""
    memory = np.zeros(len(data) + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    view = memory[start : start + len(data)]
    view[:] = np.frombuffer(data, np.uint8)
    return view
