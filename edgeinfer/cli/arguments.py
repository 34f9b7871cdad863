"""What values of options may be, and which files an output must not replace."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgeinfer.budget import parse_bytes
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.convert.input_layout import InputLayout, Layout


class UsageError(InputError):
    """Options that do not go together: wrong usage, as what the parser refuses."""


def add_custom_ops(parser: argparse.ArgumentParser) -> None:
    """Declare --custom-ops, which the command line loads before the subcommand runs."""
    parser.add_argument(
        "--custom-ops",
        action="append",
        default=[],
        metavar="FILE.py",
        help="a Python file that registers operators which the model needs; may be repeated",
    )


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


def finite_number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def byte_count(text: str) -> int:
    """An amount of memory, such as 96KiB."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def cpu_list(text: str) -> list[int]:
    """Numbers of CPUs, such as 0,2-3."""
    cpus: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of CPUs such as 0,2-3")
        low, high = int(first), int(last or first)
        if not low <= high <= 1023:
            raise argparse.ArgumentTypeError(f"{text!r}: CPUs are numbered upwards, 0 to 1023")
        cpus.extend(range(low, high + 1))
    return cpus


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and shape of an input, such as x=1,3,224,224; the name is "" where there is none.

    What stands before the last "=" is the name: names of TFLite's may hold "=" themselves.
    """
    name, _, dims = text.rpartition("=")
    numbers = dims.split(",")
    if not all(n.isascii() and n.isdecimal() and 1 <= int(n) < 2**31 for n in numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a shape such as name=1,3,224,224, with numbers of 1 or more"
        )
    return name, tuple(int(n) for n in numbers)


def add_shape_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --shape, which may be given for several inputs."""
    parser.add_argument(
        "--shape",
        type=input_shape,
        action="append",
        default=[],
        metavar="NAME=1,3,224,224",
        help="the shape of an input that the model leaves open; NAME= may be left out where there "
        "is one input; once for each input",
    )


def input_layout(text: str) -> tuple[str, str]:
    """Name and layout of an input, such as x=nhwc; the name is "" where there is none."""
    name, _, layout = text.rpartition("=")
    if layout not in ("source", "nhwc"):
        raise argparse.ArgumentTypeError(f"{text!r} is no layout: nhwc, source, or NAME=nhwc")
    return name, layout


def add_input_layout_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --input-layout, which may be given for several inputs."""
    parser.add_argument(
        "--input-layout",
        type=input_layout,
        action="append",
        default=[],
        metavar="[NAME=]nhwc",
        help="the order of axes of image inputs: nhwc makes lines of pixels of the planes of an "
        "NCHW model; without NAME= of all inputs that are NCHW images (default: source, as the "
        "model has them)",
    )


def chosen_input_layout(layouts: Sequence[tuple[str, str]]) -> InputLayout:
    """What --input-layout says, in the words of `convert`.

    Raises
    ------
    UsageError
        It is given for all inputs and once more.
    """
    chosen = {name: cast("Layout", layout) for name, layout in layouts}
    if "" not in chosen:
        return chosen
    if len(layouts) > 1:
        raise UsageError("--input-layout: give it once for all inputs, or by name, NAME=nhwc")
    return chosen[""]


def sequence_lengths(text: str) -> list[int]:
    """Lengths of a sequence, such as 16,32,64,128."""
    return [positive_int(length) for length in text.split(",")]


def add_device_profile_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --device-profile."""
    parser.add_argument(
        "--device-profile",
        metavar="NAME_OR_FILE",
        help="whose times the memory plan is chosen by: one that edgeinfer brings (zen1), or a "
        "file that tools/plan_times.py --fit --out wrote (default: a typical device's)",
    )


def add_thread_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --threads and where the threads run."""
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=1,
        metavar="N",
        help="threads that share a run (default 1)",
    )
    parser.add_argument(
        "--cpus",
        type=cpu_list,
        metavar="LIST",
        help="CPUs of the threads, e.g. 0,2-3; the first is for the main thread, which stays where "
        "it is (taskset)",
    )
    parser.add_argument(
        "--performance-cores",
        action="store_true",
        help="keep the threads on cores of the fastest kind",
    )


def add_engine_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --engine."""
    parser.add_argument(
        "--engine",
        choices=["numba"],
        help="run without the C library, by kernels that numba compiles (extras convert and jit)",
    )


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


def require_writable(output: Path, *, in_place: bool = True) -> None:
    """Find out before the work whether its result can be written.

    Parameters
    ----------
    in_place : a file that is there is written over; False: it is replaced by a new one, for which
        its folder must be writable.

    Raises
    ------
    InputError
        `output` is a folder, its folder is none, or this user may not write there.
    """
    folder = output.parent
    if output.is_dir():
        raise InputError(f"cannot write {output}: it is a folder; name a file")
    if not folder.is_dir():
        reason = "is no folder" if folder.exists() else "does not exist; make it first"
        raise InputError(f"cannot write {output}: {folder} {reason}")
    checked = output if in_place and output.exists() else folder
    if not os.access(checked, os.W_OK):
        raise InputError(f"cannot write {output}: {checked} is not writable for this user")


def refuse_same_outputs(outputs: Sequence[Path]) -> None:
    """Two outputs of a command must not be one file.

    Raises
    ------
    InputError
        Two of `outputs` are the same file, by whatever names.
    """
    named: dict[str, Path] = {}
    for output in outputs:
        other = named.setdefault(os.path.realpath(output), output)
        if other is not output:
            raise InputError(f"{other} and {output} are one file; name another output")


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
