"""Header and section table: rules 1 to 9 of docs/format.md, one test per way to break them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.core.edge_file import HEADER, SECTION, EdgeFile, check, with_header_checksum
from tests.core.programs import chain

OPTIONAL = 0x8000


@pytest.fixture(scope="module")
def valid() -> bytes:
    data = chain().write()
    assert check(data) == ("EI_OK", "")
    return data


def offset_of(field: str) -> int:
    """Where a field of the header lies."""
    fields = HEADER.fields
    assert fields is not None
    return fields[field][1]


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    """The file with other bytes, and a right checksum of the header."""
    return with_header_checksum(data[:offset] + value + data[offset + len(value) :])


def section_table(raw: bytearray) -> np.ndarray:
    """The section records of a file as the writer makes it, to be changed in place."""
    return np.frombuffer(raw, SECTION, 10, HEADER.itemsize)


def test_taking_a_file_apart_and_together_changes_nothing(valid: bytes) -> None:
    assert EdgeFile(valid).build() == valid


def test_every_truncation_is_refused(valid: bytes) -> None:
    for size in range(len(valid)):
        status, message = check(valid[:size])
        assert status == "EI_ERROR_FORMAT", size
        assert "not an .edge file" in message or "truncated" in message


def test_every_changed_byte_is_noticed(valid: bytes) -> None:
    for offset in range(len(valid)):
        changed = bytearray(valid)
        changed[offset] ^= 1 << offset % 8
        status, message = check(bytes(changed))
        assert status != "EI_OK", offset
        assert message, offset


def test_a_file_of_something_else_is_refused() -> None:
    for data in (b"\0" * 4096, b"TFL3" * 100, b"E", b"EDGEINF"):
        status, message = check(data)
        assert status == "EI_ERROR_FORMAT"
        assert "not an .edge file" in message or "truncated" in message


def test_another_major_version_is_refused(valid: bytes) -> None:
    file = EdgeFile(valid)
    file.header["major"] = 2
    status, message = check(file.build())
    assert status == "EI_ERROR_VERSION"
    assert "2.0" in message and "1.x" in message


def test_a_later_minor_version_is_read(valid: bytes) -> None:
    file = EdgeFile(valid)
    file.header["minor"] = 9
    assert check(file.build())[0] == "EI_OK"


@pytest.mark.parametrize("count", [0, 65, 0xFFFFFFFF])
def test_an_impossible_section_count_is_refused(valid: bytes, count: int) -> None:
    raw = patched(valid, offset_of("section_count"), np.uint32(count).tobytes())
    status, message = check(raw)
    assert status == "EI_ERROR_FORMAT"
    assert f"section_count is {count}" in message


def test_a_section_table_beyond_the_end_is_refused() -> None:
    header = np.zeros(1, HEADER)
    header["magic"] = np.frombuffer(b"EDGEINF\x1a", np.uint8)
    header["major"], header["section_count"], header["file_bytes"] = 1, 10, 100
    status, message = check(header.tobytes() + bytes(36))
    assert status == "EI_ERROR_FORMAT"
    assert "ends before the section table" in message


def test_appended_bytes_are_refused(valid: bytes) -> None:
    status, message = check(valid + b"x")
    assert status == "EI_ERROR_FORMAT"
    assert "something was appended" in message


def test_bytes_behind_the_last_section_are_refused(valid: bytes) -> None:
    longer = valid + b"\0"
    size = np.uint64(len(longer)).tobytes()
    status, message = check(patched(longer, offset_of("file_bytes"), size))
    assert status == "EI_ERROR_FORMAT"
    assert "last section ends" in message


def test_a_wrong_header_checksum_is_refused(valid: bytes) -> None:
    changed = bytearray(valid)
    changed[offset_of("checksum")] ^= 1
    status, message = check(bytes(changed))
    assert status == "EI_ERROR_CHECKSUM"
    assert "header: checksum" in message


@pytest.mark.parametrize(("field", "words"), [("flags", "flags is 0x1"), ("reserved", "reserved")])
def test_unknown_header_bits_are_refused(valid: bytes, field: str, words: str) -> None:
    file = EdgeFile(valid)
    file.header[field] = 1
    status, message = check(file.build())
    assert status == "EI_ERROR_FORMAT"
    assert words in message


@pytest.mark.parametrize("number", range(1, 11))
def test_every_section_has_a_checksum_that_counts(valid: bytes, number: int) -> None:
    file = EdgeFile(valid)
    file.section_fields[number] = {"checksum": 0x12345678}
    status, message = check(file.build())
    assert status == "EI_ERROR_CHECKSUM"
    assert "0x12345678" in message


@pytest.mark.parametrize("number", range(1, 11))
def test_a_missing_section_is_refused(valid: bytes, number: int) -> None:
    file = EdgeFile(valid)
    del file.sections[number]
    status, message = check(file.build())
    assert status == "EI_ERROR_FORMAT"
    assert f"no section of type {number} " in message


@pytest.mark.parametrize("number", range(1, 11))
def test_a_section_of_which_there_are_two_is_refused(valid: bytes, number: int) -> None:
    file = EdgeFile(valid)
    file.sections[OPTIONAL] = bytearray()
    file.section_fields[OPTIONAL] = {"type": number}
    status, message = check(file.build())
    assert status == "EI_ERROR_FORMAT"
    assert "the same type as section" in message


def test_two_optional_sections_of_one_type_are_refused(valid: bytes) -> None:
    file = EdgeFile(valid)
    file.sections |= {OPTIONAL: bytearray(b"a"), OPTIONAL + 1: bytearray(b"b")}
    file.section_fields[OPTIONAL + 1] = {"type": OPTIONAL}
    status, message = check(file.build())
    assert status == "EI_ERROR_FORMAT"
    assert "the same type as section" in message


def test_an_unknown_optional_section_is_skipped(valid: bytes) -> None:
    file = EdgeFile(valid)
    file.sections |= {OPTIONAL: bytearray(b"what a later version knows"), 0xFFFFFFFF: bytearray()}
    assert check(file.build())[0] == "EI_OK"


def test_an_optional_section_has_a_checksum_too(valid: bytes) -> None:
    file = EdgeFile(valid)
    file.sections[OPTIONAL] = bytearray(b"what a later version knows")
    file.section_fields[OPTIONAL] = {"checksum": 1}
    assert check(file.build())[0] == "EI_ERROR_CHECKSUM"


@pytest.mark.parametrize("number", [0, 11, 0x7FFF])
def test_an_unknown_section_that_is_not_optional_is_refused(valid: bytes, number: int) -> None:
    file = EdgeFile(valid)
    file.sections[number] = bytearray()
    status, message = check(file.build())
    assert status == "EI_ERROR_FORMAT"
    assert f"type is {number}," in message


def test_sections_may_come_in_any_order(valid: bytes) -> None:
    file = EdgeFile(valid)
    file.sections = dict(reversed(file.sections.items()))
    assert check(file.build())[0] == "EI_OK"


# What is changed in a section record, given the record and the file's size, and the answer.
CHANGES: dict[str, tuple[Callable[[dict[str, int], int], dict[str, int]], str]] = {
    "past the end": (lambda r, size: {"offset": -(-size // 64) * 64}, "go past the end"),
    "size near 2^64": (lambda r, size: {"bytes": 2**64 - 64}, "go past the end"),
    "offset near 2^64": (lambda r, size: {"offset": 2**64 - 64}, "go past the end"),
    "unaligned": (lambda r, size: {"offset": r["offset"] + 16}, "must be a multiple of 64"),
    "over the one before": (lambda r, size: {"offset": r["offset"] - 64}, "overlaps"),
    "over the header": (lambda r, size: {"offset": 0}, "overlaps what ends at"),
    "other records": (lambda r, size: {"record_bytes": r["record_bytes"] + 4}, "record_bytes is"),
    "one record more": (lambda r, size: {"count": r["count"] + 1}, "count is"),
    "2^32 - 1 records": (lambda r, size: {"count": 2**32 - 1}, "count is"),
}


@pytest.mark.parametrize("number", [1, 3, 5, 7, 8])
@pytest.mark.parametrize("change", CHANGES)
def test_section_records_are_checked(valid: bytes, number: int, change: str) -> None:
    raw = bytearray(valid)
    record = section_table(raw)[number - 1 : number]
    fields = {name: int(record[name][0]) for name in SECTION.names}
    assert fields["type"] == number
    alter, words = CHANGES[change]
    for name, value in alter(fields, len(valid)).items():
        record[name] = value
    status, message = check(with_header_checksum(bytes(raw)))
    assert status == "EI_ERROR_FORMAT"
    assert f"section {number - 1} " in message and words in message


def test_a_gap_between_sections_is_refused(valid: bytes) -> None:
    raw = bytearray(valid)
    table = section_table(raw)
    last = int(table["offset"][-1])
    table["offset"][-1] += 64
    moved = raw[:last] + bytes(64) + raw[last:]
    moved[16:24] = np.uint64(len(moved)).tobytes()
    status, message = check(with_header_checksum(bytes(moved)))
    assert status == "EI_ERROR_FORMAT"
    assert "only zeros up to the next multiple of 64" in message


def test_padding_that_is_not_zero_is_refused(valid: bytes) -> None:
    raw = bytearray(valid)
    strings, metadata = section_table(raw)[-2:]
    end = int(strings["offset"] + strings["bytes"])
    assert end < metadata["offset"]
    raw[end] = 1
    status, message = check(bytes(raw))
    assert status == "EI_ERROR_FORMAT"
    assert "only zeros" in message
