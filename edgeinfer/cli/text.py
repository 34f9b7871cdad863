"""How subcommands print: byte counts, aligned tables, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def format_bytes(count: int) -> str:
    """16000 -> "16,000 bytes (15.6 KiB)"."""
    exact = f"{count:,} bytes"
    if count < 1024:
        return exact
    power = min((count.bit_length() - 1) // 10, 3)
    unit = ("bytes", "KiB", "MiB", "GiB")[power]
    return f"{exact} ({count / 1024**power:.1f} {unit})"


def format_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned by width; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(header)]
    right = [
        bool(rows) and all(isinstance(row[i], (int, float)) for row in rows)
        for i in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        parts = (
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, cells)])


def print_json(value: Any) -> None:
    """The form that scripts read: stable keys, one document."""
    print(json.dumps(value, indent=2, sort_keys=True))
