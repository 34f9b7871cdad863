"""Show what the machine draws: every meter, what it covers, and how far it is to be trusted.

A counter of energy shows power only between two readings, so the first answer takes half a second.
"origin" says whether a value is measured by a sensor or modelled. The meter marked with * is the
one that --energy and a power budget use. docs/power.md says what each board can measure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeinfer.cli.arguments import positive_seconds
from edgeinfer.extras import extra
from edgeinfer.printing import format_table, print_json, printable

if TYPE_CHECKING:
    from edgeinfer.power.meter import Meter
    from edgeinfer.power.reading import Reading

EXAMPLE = "edgeinfer power --watch"
_SHORTEST = 0.5
_OTHER_COLUMNS = 62  # all but the names and what is covered


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    parser.add_argument(
        "--interval",
        type=positive_seconds,
        default=1.0,
        metavar="S",
        help="seconds between two lines of --watch (default 1)",
    )
    parser.add_argument(
        "--seconds", type=positive_seconds, metavar="S", help="end --watch after so long"
    )
    parser.add_argument("--meter", metavar="NAME", help="only this meter")
    parser.add_argument(
        "--json", action="store_true", help="print JSON for scripts; with --watch one line each"
    )


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    with extra("edgeinfer power", "edgeinfer-power", "power"):
        from edgeinfer.power import best_meter, find_meters, why_unmetered
        from edgeinfer.power.meter import MeterThread

    best = best_meter(name=args.meter)
    others = [] if args.meter else find_meters()
    meters: list[Meter] = [best, *(meter for meter in others if meter.name != best.name)]
    reason = why_unmetered() if not others and best.name == "model" and not args.meter else ""
    threads = [MeterThread(meter) for meter in meters]
    try:
        for thread in threads:
            thread.start()
        start = time.monotonic()
        pause = args.interval if args.watch else max(_SHORTEST, *(m.interval for m in meters))
        lines = 0
        while True:
            time.sleep(pause)
            readings = [thread.log.poll() for thread in threads]
            if args.json:
                _print_json(meters, readings, reason, args.watch)
            else:
                lines = _print_table(meters, readings, reason, lines)
            ends = args.seconds is not None and time.monotonic() - start >= args.seconds
            if not args.watch or ends:
                return 0
    except KeyboardInterrupt:
        return 0
    finally:
        for thread in threads:
            thread.stop()


def _print_json(
    meters: Sequence[Meter], readings: Sequence[Reading], reason: str, one_line: bool
) -> None:
    listed = [
        {"name": meter.name, "scope": meter.scope, **reading.as_dict()}
        for meter, reading in zip(meters, readings, strict=True)
    ]
    document: dict[str, Any] = {"meters": listed, "best": meters[0].name, "reason": reason or None}
    if one_line:
        print(json.dumps(document, sort_keys=True), flush=True)
    else:
        print_json(document)


def _print_table(
    meters: Sequence[Meter], readings: Sequence[Reading], reason: str, before: int
) -> int:
    """Print, over the `before` lines of the last time where that is a terminal's."""
    rows = [
        [
            ("* " if i == 0 else "  ") + printable(meter.name),
            "?" if reading.watts is None else f"{reading.watts:.3f}",
            "?" if reading.joules is None else f"{reading.joules:.2f}",
            reading.origin + ("" if reading.error is None else f" ±{100 * reading.error:.0f} %"),
            reading.source,
            _resolution(reading),
            printable(reading.covers),
        ]
        for i, (meter, reading) in enumerate(zip(meters, readings, strict=True))
    ]
    if sys.stdout.isatty():  # a line that is broken in two could not be printed over
        width = shutil.get_terminal_size().columns - 1
        longest = max(len(row[0]) for row in rows)
        room = max(20, width - longest - _OTHER_COLUMNS)
        for row in rows:
            row[-1] = row[-1] if len(row[-1]) <= room else row[-1][: room - 1] + "…"
    header = ["  meter", "W", "J", "origin", "source", "resolution", "covers"]
    text = format_table(header, rows, right=(1, 2))
    for meter, reading in zip(meters, readings, strict=True):
        if reading.fault is not None:
            fault = reading.fault
            text += f"\n  {printable(meter.name)}: {fault} ({printable(reading.detail)})"
            text += f"\n    {fault.meaning}; {fault.advice}"
    text += f"\n  {printable(reason)}" if reason else ""
    if before and sys.stdout.isatty():
        text = f"\x1b[{before}A\x1b[J{text}"
    print(text, flush=True)
    return text.count("\n") + 1


def _resolution(reading: Reading) -> str:
    if reading.resolution is None:
        return "unknown" if reading.origin == "measured" else ""
    return f"{reading.resolution:.2g} {reading.unit}"
