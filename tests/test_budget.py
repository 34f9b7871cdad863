"""Amounts of memory as people write them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.budget import align_up, format_bytes, parse_bytes, session_bytes_of
from edgeinfer.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (65536, 65536),
        ("0", 0),
        ("65536", 65536),
        ("512B", 512),
        ("96KiB", 96 * 1024),
        ("96 kib", 96 * 1024),
        (" 1.5MiB ", 3 * 512 * 1024),
        ("2GiB", 2 * 1024**3),
        ("1kB", 1000),
        ("0.1 MB", 100_000),
        ("3GB", 3_000_000_000),
        ("1.0009kB", 1000),  # a fraction of a byte is dropped
        ("0.000000001GB", 1),
    ],
)
def test_amounts_of_memory(text: int | str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "KiB", "1.KiB", ".5MiB", "-1", "1 TiB", "1e6", "ten", "1 2", "１", "9" * 5000]
)
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount of memory"):
        parse_bytes(text)


def test_a_negative_amount() -> None:
    with pytest.raises(InputError, match="negative"):
        parse_bytes(-1)


@pytest.mark.parametrize("amount", [True, 1e6, 1.0, b"96KiB", None, np.float32(8)])
def test_what_is_neither_an_integer_nor_text(amount: object) -> None:
    with pytest.raises(InputError, match="write bytes as an int"):
        parse_bytes(amount)  # type: ignore[arg-type]


def test_integers_of_numpy_become_int() -> None:
    assert type(parse_bytes(np.uint64(2**64 - 1))) is int


def test_sizes_are_rounded_part_by_part() -> None:
    assert align_up(0, 64) == 0
    assert align_up(1, 64) == align_up(64, 64) == 64
    sizes = {"scratch_bytes": 1, "arena_bytes": 65, "state_bytes": 0}
    assert session_bytes_of(nodes=1, operands=3, **sizes) == 384 + 64 + 128


def test_amounts_are_exact_and_rounded_for_people() -> None:
    assert format_bytes(768) == "768 bytes"
    assert format_bytes(49_152) == "49,152 bytes (48.0 KiB)"
    assert format_bytes(1_505_280) == "1,505,280 bytes (1,470.0 KiB)"
    assert format_bytes(20 * 1024**2) == "20,971,520 bytes (20.0 MiB)"
