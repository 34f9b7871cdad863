"""What values of options may be, and which files an output must not replace."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from edgeinfer.budget import parse_bytes
from edgeinfer.errors import InputError


def positive_int(text: str) -> int:
    """A count of at least 1."""
    value = _int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def natural(text: str) -> int:
    """A whole number of at least 0, as seeds are."""
    value = _int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def positive_seconds(text: str) -> float:
    """A finite time above 0, in seconds."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a time above 0")
    return value


def positive_number(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def byte_count(text: str) -> int:
    """An amount of memory, such as 96KiB."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def refuse_overwriting(output: Path, *sources: Path) -> None:
    """An output must not replace a file that the command reads.

    Raises
    ------
    InputError
        `output` is one of `sources`, by whatever name.
    """
    for source in sources:
        if output.exists() and source.exists() and output.samefile(source):
            raise InputError(f"{output} would replace {source}, which is read; name another output")


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
