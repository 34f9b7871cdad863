"""How commands, reports and tools print: aligned tables, names from files, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()
) -> str:
    """Columns aligned by width; numbers, and the columns `right`, to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(header)]
    to_the_right = [
        i in right or (bool(rows) and all(isinstance(row[i], (int, float)) for row in rows))
        for i in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        parts = (
            c.rjust(w) if r else c.ljust(w)
            for c, w, r in zip(row, widths, to_the_right, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, cells)])


def printable(text: str) -> str:
    """Text from a file, fit for a terminal and for XML: "?" for what is no visible character.

    Control characters could move the cursor or recolour the screen, and characters that turn the
    direction of writing make a line look like another one.
    """
    return "".join(c if c.isprintable() else "?" for c in text)


def shortened(name: str, width: int = 44) -> str:
    """A tensor's name in a table: the first of several that TFLite joined, cut at its beginning.

    Exporters put what differs at the end, and paths of one model begin alike.
    """
    first, joined, _ = printable(name).partition(";")
    room = width - 2 * bool(joined)
    shown = first if len(first) <= room else "…" + first[1 - room :]
    return shown + (";…" if joined else "")


def decibels(value: float | None, unit: str = "") -> str:
    """A ratio in decibels with one digit and the unit; "exact" where nothing differs."""
    if value is None:
        return ""
    return "exact" if value == math.inf else f"{value:.1f}{unit}"


def print_json(value: Any) -> None:
    """The form that scripts read, on standard output."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """Stable keys, one document.

    JSON has no numbers that are not finite: they become the strings "NaN", "Infinity" and
    "-Infinity", which `float` reads.
    """
    return json.dumps(_finite(value), indent=2, sort_keys=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
