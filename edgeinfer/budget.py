"""Memory as a number: what a session takes, and how people write an amount of bytes.

The constants are those of `csrc/model/format.h`; a test holds the two against each other.
"""

from __future__ import annotations

import operator
import re

from edgeinfer.errors import InputError

SESSION_FIXED_BYTES = 256
SESSION_NODE_BYTES = 32
SESSION_OPERAND_BYTES = 32
SESSION_ALIGNMENT = 64
SESSION_THREAD_BYTES = 132 * 1024
MAX_THREADS = 32

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_AMOUNT = r"\s*([0-9]{1,40}(?:\.[0-9]{1,40})?)\s*([a-z]*)\s*"


def align_up(size: int, alignment: int) -> int:
    """The smallest multiple of `alignment` that is at least `size`."""
    return -(-size // alignment) * alignment


def session_bytes_of(
    *, nodes: int, operands: int, scratch_bytes: int, arena_bytes: int, state_bytes: int
) -> int:
    """Exact bytes of memory that a session of one thread takes, the same on every CPU.

    Each further thread adds SESSION_THREAD_BYTES.

    Parameters
    ----------
    nodes : operators that the program runs.
    operands : operands of these nodes together, inputs (absent ones too) and outputs.
    scratch_bytes, arena_bytes, state_bytes : as the plan says, in bytes.
    """
    bookkeeping = (
        SESSION_FIXED_BYTES + nodes * SESSION_NODE_BYTES + operands * SESSION_OPERAND_BYTES
    )
    return sum(
        align_up(part, SESSION_ALIGNMENT)
        for part in (bookkeeping, scratch_bytes, arena_bytes, state_bytes)
    )


def parse_bytes(amount: int | str) -> int:
    """Read an amount of memory: a number of bytes, or text such as "96KiB", "1.5 MB" or "65536".

    KiB, MiB and GiB count in 1024s, kB, MB and GB in 1000s; letter case does not matter. A
    fraction of a byte is dropped.

    Raises
    ------
    InputError
        The amount is negative, of another type, or not written in one of these ways.
    """
    if not isinstance(amount, str):
        return _whole_bytes(amount)
    match = re.fullmatch(_AMOUNT, amount, re.IGNORECASE)
    unit = match[2].lower() if match else ""
    if match is None or unit not in _UNITS:
        raise InputError(
            f"{amount!r} is not an amount of memory; write bytes, or a number with "
            "kB, MB, GB, KiB, MiB or GiB, as in '96KiB'"
        )
    whole, _, fraction = match[1].partition(".")
    scale: int = 10 ** len(fraction)
    return int(whole + fraction) * _UNITS[unit] // scale


def _whole_bytes(amount: int) -> int:
    """Any integer type, NumPy's too, but neither True nor 1e6: these are mistakes more often."""
    try:
        size = operator.index(amount)
    except TypeError:
        size = None
    if size is None or isinstance(amount, bool):
        raise InputError(
            f"{amount!r} is not an amount of memory; write bytes as an int, or text such as '96KiB'"
        )
    if size < 0:
        raise InputError(f"an amount of memory cannot be negative: {size}")
    return size


def format_bytes(size: int) -> str:
    """Write an amount for people: exact bytes, and KiB or MiB beside them where they are many."""
    if size < 10 * 1024:
        return f"{size:,} bytes"
    if size < 10 * 1024**2:
        return f"{size:,} bytes ({size / 1024:,.1f} KiB)"
    return f"{size:,} bytes ({size / 1024**2:.1f} MiB)"
