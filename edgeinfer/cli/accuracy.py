"""Options of `convert` about what quantisation may cost, and the reports of what it did."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.report import QuantizationReport


def add_accuracy_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --report, --max-drop and what belongs to it."""
    group = parser.add_argument_group("accuracy of the quantised model")
    group.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FILE",
        help="write the report as FILE.html or FILE.json; may be given again",
    )
    group.add_argument(
        "--max-drop",
        type=share,
        metavar="SHARE",
        help="keep the most sensitive layers at higher precision until the metric drops by no more "
        "than this on held-out samples, e.g. 0.5%%; else fail",
    )
    group.add_argument(
        "--metric",
        help="of --max-drop: top1, cosine, sqnr, accuracy (with labels in the data), or "
        "file.py:function (default: top1 for classes, else sqnr)",
    )
    group.add_argument(
        "--max-raised",
        type=share,
        metavar="SHARE",
        help="how many layers --max-drop may keep at higher precision (default 50%%)",
    )


def share(text: str) -> float:
    """A part of one, as 0.5% or 0.005."""
    number = text.strip()
    try:
        value = float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 0.5%") from None
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no share of 0 or more")
    return value


def accuracy_options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `convert` for what was asked for.

    Raises
    ------
    InputError
        A report is of no kind that there is.
    """
    given = {"max_drop": args.max_drop, "metric": args.metric, "max_raised": args.max_raised}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for path in args.report:
        from edgeinfer.convert.quantize.report import require_report_suffix

        require_report_suffix(Path(path))
    return options


def write_reports(report: QuantizationReport | None, paths: Sequence[str]) -> list[str]:
    """Save the report under each name; a line for people about each."""
    if report is None:
        return []
    return [f"  report   {report.save(path)}" for path in paths]


def accuracy_text(report: QuantizationReport) -> str:
    """What the terminal shows."""
    from edgeinfer.convert.quantize.report_text import terminal_text

    return terminal_text(report)
